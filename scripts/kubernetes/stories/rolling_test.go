//go:build cluster

package stories

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"math"
	"net"
	"net/http"
	"net/netip"
	"strings"
	"sync"
	"time"

	"github.com/causeway-cni/causeway/scripts/kubernetes"
)

// rolled is a deployment that is replaced without a loss: a new pod is not ready
// before balancers find it healthy, and an old one goes on until they send it
// nothing more and its connections have ended.
const rolled = `apiVersion: apps/v1
kind: Deployment
metadata: {name: web, namespace: %[1]s}
spec:
  replicas: 4
  strategy: {rollingUpdate: {maxUnavailable: 0, maxSurge: 2}}
  selector: {matchLabels: {app: web}}
  template:
    metadata: {labels: {app: web}}
    spec:
      terminationGracePeriodSeconds: 20
      readinessGates: [{conditionType: target-health.elbv2.k8s.aws/pods}]
      containers:
      - name: web
        image: %[2]s
        args: [echo, --listen, ":80", --grace, 5s]
        readinessProbe: {httpGet: {path: /, port: 80}, periodSeconds: 1}
        lifecycle: {preStop: {sleep: {seconds: 5}}}
---
apiVersion: v1
kind: Service
metadata:
  name: instances
  namespace: %[1]s
  annotations:
    %[3]s
    service.beta.kubernetes.io/aws-load-balancer-nlb-target-type: instance
    service.beta.kubernetes.io/aws-load-balancer-target-group-attributes: deregistration_delay.timeout_seconds=5
spec: {type: LoadBalancer, selector: {app: web}, ports: [{port: 80}]}
---
apiVersion: v1
kind: Service
metadata:
  name: pods
  namespace: %[1]s
  annotations:
    %[3]s
    service.beta.kubernetes.io/aws-load-balancer-nlb-target-type: ip
    service.beta.kubernetes.io/aws-load-balancer-target-group-attributes: deregistration_delay.timeout_seconds=5
    service.beta.kubernetes.io/aws-load-balancer-attributes: load_balancing.cross_zone.enabled=true
spec: {type: LoadBalancer, selector: {app: web}, ports: [{port: 80}]}
`

// rollingUpdate replaces the pods behind balancers, by instance and by address,
// while clients come and stay.
func rollingUpdate(s story) {
	s.apply(rolled, s.space, kubernetes.ProbeImage, prompt)
	s.rollout()
	old := strings.Fields(s.kubectl("get", "pods", "-o", "name"))
	var ends []func()
	for _, service := range []string{"instances", "pods"} {
		for _, z := range s.balancer("service", service, everyTarget).Zones {
			name := service + ", balancer in " + z.Zone
			ends = append(ends, s.load(name, s.fromPlace("internet"), at(z.Public), 0).end, s.visits(name, at(z.Public)).end)
		}
	}
	start := time.Now()
	s.kubectl("rollout", "restart", "deployment/web")
	s.rollout()
	s.number("4 pods replaced after, s", math.Round(time.Since(start).Seconds()*10)/10, "")
	s.kubectl(append([]string{"wait", "--for=delete", "--timeout=2m"}, old...)...)
	for _, end := range ends {
		end()
	}
}

// visits are clients in the internet that ask over HTTP, on one connection until
// the server says that this was the last answer.
type visits struct {
	s      story
	name   string
	cancel context.CancelFunc
	tasks  sync.WaitGroup

	mu       sync.Mutex
	hosts    map[string]bool // that answered
	answered int
	moved    int // to another connection
	failed   []string
}

func (s story) visits(name string, to netip.AddrPort) *visits {
	s.Helper()
	from := s.end("internet", internetAddr, s.fromPlace("internet"))
	ctx, cancel := context.WithCancel(s.ctx)
	v := &visits{s: s, name: name, cancel: cancel, hosts: map[string]bool{}}
	s.Cleanup(func() { cancel(); v.tasks.Wait() })
	for range 2 {
		v.tasks.Go(func() {
			for tick(ctx, sessionPause) {
				if err := v.visit(ctx, from, to); err != nil && ctx.Err() == nil {
					v.mu.Lock()
					v.failed = append(v.failed, fmt.Sprintf("%s: %v", clock(time.Now()), err))
					v.mu.Unlock()
				}
			}
		})
	}
	return v
}

// visit asks on one connection, to its end.
func (v *visits) visit(ctx context.Context, from end, to netip.AddrPort) error {
	soon, cancel := context.WithTimeout(ctx, patience)
	conn, err := from.dial()(soon, "tcp4", to.String())
	cancel()
	if err != nil {
		return err
	}
	defer conn.Close()
	for r := bufio.NewReader(conn); tick(ctx, sessionPause); {
		last, err := v.request(conn, r)
		if err != nil || last {
			return err
		}
	}
	return nil
}

// request asks once; last says that the server closes the connection.
func (v *visits) request(conn net.Conn, r *bufio.Reader) (last bool, err error) {
	if err := conn.SetDeadline(time.Now().Add(patience)); err != nil {
		return false, err
	}
	if _, err := fmt.Fprintf(conn, "GET / HTTP/1.1\r\nHost: %s\r\n\r\n", conn.RemoteAddr()); err != nil {
		return false, err
	}
	response, err := http.ReadResponse(r, nil)
	if err != nil {
		return false, err
	}
	defer response.Body.Close()
	var answer struct{ Host string }
	if err := json.NewDecoder(response.Body).Decode(&answer); err != nil || response.StatusCode != http.StatusOK {
		return false, fmt.Errorf("%s: %w", response.Status, err)
	}
	v.mu.Lock()
	defer v.mu.Unlock()
	v.answered++
	v.hosts[answer.Host] = true
	if response.Close {
		v.moved++
	}
	return response.Close, nil
}

// end ends the visits, and fails the story if a request failed.
func (v *visits) end() {
	v.s.Helper()
	v.cancel()
	v.tasks.Wait()
	v.s.number(v.name+": failed requests", float64(len(v.failed)), "of %d by %d pods; %d connections were closed after an answer", v.answered+len(v.failed), len(v.hosts), v.moved)
	if v.answered < 50 || v.moved == 0 || len(v.failed) > 0 {
		v.s.Errorf("%s: %d requests answered, %d connections closed after an answer, failed %q; want at least 50 answered, 1 closed, and none failed", v.name, v.answered, v.moved, v.failed)
	}
}
