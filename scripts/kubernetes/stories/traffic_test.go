//go:build cluster

package stories

import (
	"fmt"
	"net/netip"
	"strings"
	"time"
)

// traffic is the load of stories in which parts of nodes end: on the service web
// by its cluster IP and on one of its pods, from a pod of the second node, and
// on its node port, from the internet by the first node's public address. The
// sessions stay through all that happens.
type traffic struct {
	s     story
	loads []*load
}

// trafficSessions is how many there are: four on the service from either side,
// and two on the pod.
const trafficSessions = 10

// traffic starts one, with the pods that it asks and asks from.
func (s story) traffic() *traffic {
	s.Helper()
	first, second := s.cluster.Nodes[0], s.cluster.Nodes[1]
	s.web(4)
	s.client("client", "  nodeName: "+second.Name+"\n")
	service := s.kubectl("get", "service", "web", "-o", "jsonpath={.spec.clusterIP}:{.spec.ports[0].port}")
	nodePort := s.kubectl("get", "service", "web", "-o", "jsonpath={.spec.ports[0].nodePort}")
	pod := s.kubectl("get", "pods", "-l", "app=web", "--field-selector", "spec.nodeName="+first.Name, "-o", "jsonpath={.items[0].status.podIP}")
	enis, err := first.Interfaces(s.ctx)
	if err != nil {
		s.Fatal(err)
	}
	public := enis[0].Public[first.Addr.String()]
	return &traffic{s, []*load{
		s.load("pod to service", s.fromPod("client"), netip.MustParseAddrPort(service), 4),
		s.load("pod to pod", s.fromPod("client"), netip.MustParseAddrPort(pod+":80"), 2),
		s.load("internet to node port", s.fromPlace("internet"), netip.MustParseAddrPort(public+":"+nodePort), 4),
	}}
}

// tell says what the traffic saw of an event, since the last one: nothing. It
// waits until each load has gone on for a while.
func (t *traffic) tell(event string) {
	t.s.Helper()
	var bad []string
	var slowest time.Duration
	made := 0
	for _, l := range t.loads {
		n := l.take(t.s)
		for _, f := range n.failed {
			bad = append(bad, l.name+", new, "+f)
		}
		for _, b := range n.broken {
			bad = append(bad, l.name+", session, "+b)
		}
		made, slowest = made+n.made, max(slowest, n.slowest)
	}
	t.s.number(event+": failed or broken", float64(len(bad)), "of %d new connections (slowest %s) and %d sessions", made, slowest.Round(time.Millisecond), trafficSessions)
	if len(bad) > 0 {
		t.s.Errorf("%s: failed or broken, want none:\n%s", event, strings.Join(bad, "\n"))
	}
}

// take is what the load saw since it was last asked: at least 50 connections.
func (l *load) take(s story) (n count) {
	s.Helper()
	s.eventually(l.name+": 50 connections", func() error {
		l.mu.Lock()
		defer l.mu.Unlock()
		if done := l.count.made + len(l.count.failed); done < 50 {
			return fmt.Errorf("%d were made", done)
		}
		n, l.count = l.count, count{}
		return nil
	})
	return n
}
