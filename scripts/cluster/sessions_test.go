package cluster

import (
	"errors"
	"io"
	"net"
	"sync"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// echoing is a service whose backends send back what they get.
const (
	echoing   = 60000 // its number
	echoPort  = 81    // of backends
	howMany   = 20    // connections that stay
	echoPause = 20 * time.Millisecond
)

// echo creates that service.
func (f *field) echo() {
	f.t.Helper()
	var l net.Listener
	err := Within(f.Path("backend"), func() (err error) { l, err = net.Listen("tcp4", ":81"); return err })
	if err != nil {
		f.t.Fatal(err)
	}
	f.t.Cleanup(func() { l.Close() })
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			go func() { defer c.Close(); io.Copy(c, c) }()
		}
	}()
	meta := metav1.ObjectMeta{Name: "echo", Labels: map[string]string{discoveryv1.LabelServiceName: "echo"}}
	_, err = f.API.Client.CoreV1().Services(space).Create(f.t.Context(), &corev1.Service{ObjectMeta: meta, Spec: corev1.ServiceSpec{
		ClusterIP: ClusterIP(echoing).String(), Ports: []corev1.ServicePort{{Name: "http", Protocol: corev1.ProtocolTCP, Port: 80}},
	}}, metav1.CreateOptions{})
	if err == nil {
		to := ports()
		*to[0].Port = echoPort
		_, err = f.API.Client.DiscoveryV1().EndpointSlices(space).Create(f.t.Context(), &discoveryv1.EndpointSlice{
			ObjectMeta: meta, AddressType: discoveryv1.AddressTypeIPv4, Ports: to, Endpoints: ready(0, endpoints, 0),
		}, metav1.CreateOptions{})
	}
	if err != nil {
		f.t.Fatal(err)
	}
}

// sessions are connections that stay, and are never silent for long.
type sessions struct {
	stop chan struct{}
	done sync.WaitGroup
	t    *testing.T
}

func (f *field) sessions() *sessions {
	f.t.Helper()
	s := &sessions{stop: make(chan struct{}), t: f.t}
	for range howMany {
		var c net.Conn
		err := Within(f.Path("client"), func() (err error) {
			c, err = net.DialTimeout("tcp4", net.JoinHostPort(ClusterIP(echoing).String(), "80"), 3*time.Second)
			return err
		})
		if err != nil {
			f.t.Fatal(err)
		}
		s.done.Go(func() {
			defer c.Close()
			s.talk(c)
		})
	}
	return s
}

func (s *sessions) talk(c net.Conn) {
	tick := time.NewTicker(echoPause)
	defer tick.Stop()
	b := make([]byte, 1)
	for {
		select {
		case <-s.stop:
			return
		case <-tick.C:
		}
		c.SetDeadline(time.Now().Add(3 * time.Second))
		_, wrote := c.Write(b)
		if _, err := c.Read(b); errors.Join(wrote, err) != nil {
			s.t.Errorf("a connection that was there before: %v", errors.Join(wrote, err))
			return
		}
	}
}

func (s *sessions) end() {
	close(s.stop)
	s.done.Wait()
}
