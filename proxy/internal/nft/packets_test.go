package nft

import (
	"net"
	"net/netip"
	"strings"
	"testing"

	"github.com/causeway-cni/causeway/proxy/service"
)

func TestServicePackets(t *testing.T) {
	eachLab(t, func(t *testing.T, l *lab) {
		port, vip, balancer := net.JoinHostPort(l.at.node, "30080"), net.JoinHostPort(l.at.vip, "80"), net.JoinHostPort(l.at.balancer, "80")

		l.put("1", l.balanced)
		l.want("pod to ClusterIP", l.pods[0], vip, "pod1 sees "+l.at.pods[0])
		l.wantUDP("pod to ClusterIP", l.pods[0], vip, "pod1 sees "+l.at.pods[0])
		l.want("node to ClusterIP", l.node, vip, "pod1 sees "+l.at.node)
		l.wantUDP("node to ClusterIP", l.node, vip, "pod1 sees "+l.at.node)
		l.want("client to ClusterIP", l.client, vip, "pod1 sees "+l.at.node)
		l.want("hairpin", l.pods[1], vip, "pod1 sees "+l.at.node)
		l.wantUDP("hairpin", l.pods[1], vip, "pod1 sees "+l.at.node)
		l.want("client to node port", l.client, port, "pod1 sees "+l.at.node)
		l.wantUDP("client to node port", l.client, port, "pod1 sees "+l.at.node)
		l.want("pod to node port", l.pods[0], port, "pod1 sees "+l.at.node)
		l.want("node to its own port", l.node, port, "pod1 sees "+l.at.node)
		l.want("client to balancer's address", l.client, balancer, "pod1 sees "+l.at.node)
		l.want("pod to balancer's address", l.pods[0], balancer, "pod1 sees "+l.at.node)

		l.put("1", l.externalLocal)
		l.want("policy Local, client to node port", l.client, port, "pod1 sees "+l.at.client)
		l.want("policy Local, client to balancer's address", l.client, balancer, "pod1 sees "+l.at.client)
		l.want("policy Local, pod to node port", l.pods[0], port, "pod1 sees "+l.at.pods[0])
		l.want("policy Local, node to node port", l.node, port, "pod1 sees "+l.at.node)

		l.put("x1", l.externalLocal)
		l.want("no local endpoint, client to node port", l.client, port, "silence")
		l.want("no local endpoint, client to balancer's address", l.client, balancer, "silence")
		l.want("no local endpoint, pod to node port", l.pods[0], port, "pod1 sees "+l.at.pods[0])
		l.want("no local endpoint, node to balancer's address", l.node, balancer, "pod1 sees "+l.at.node)
		l.put("x1", func(s *service.Service) { s.Internal = service.Local })
		l.want("internal Local without a local endpoint", l.pods[0], vip, "silence")
		l.put("x12", func(s *service.Service) { s.Internal = service.Local })
		l.want("internal Local", l.pods[0], vip, "pod2 sees "+l.at.pods[0])

		ranged := func(s *service.Service) {
			l.balanced(s)
			s.SourceRanges = []netip.Prefix{netip.MustParsePrefix(l.at.host(l.at.pods[0]))}
		}
		l.put("1", ranged)
		l.want("source within the ranges", l.pods[0], balancer, "pod1 sees "+l.at.node)
		l.want("source outside the ranges", l.pods[2], balancer, "silence")
		l.want("client outside the ranges", l.client, balancer, "silence")
		l.want("node outside the ranges", l.node, balancer, "silence")
		l.want("node port beside the ranges", l.client, port, "pod1 sees "+l.at.node)
		l.want("ClusterIP beside the ranges", l.pods[2], vip, "pod1 sees "+l.at.pods[2])

		l.put("", l.balanced)
		l.want("no endpoints, pod to ClusterIP", l.pods[0], vip, "refused")
		l.wantUDP("no endpoints, pod to ClusterIP", l.pods[0], vip, "refused")
		l.want("no endpoints, node to ClusterIP", l.node, vip, "refused")
		if got := l.askBy(l.node, "udp", vip, net.Dialer{}); !strings.Contains(got, "not permitted") { // of a packet that never left
			t.Errorf("no endpoints, node to ClusterIP, UDP: %s", got)
		}
		l.want("no endpoints, client to node port", l.client, port, "refused")
		l.wantUDP("no endpoints, client to node port", l.client, port, "refused")
		l.want("no endpoints, client to balancer's address", l.client, balancer, "refused")
	})
}

// TestBalance opens connections until every endpoint answered; with affinity
// one answers all.
func TestBalance(t *testing.T) {
	eachLab(t, func(t *testing.T, l *lab) {
		answers := func(to string) map[string]bool {
			seen := map[string]bool{}
			for range 60 {
				name, _, _ := strings.Cut(l.ask(l.client, to), " ")
				seen[name] = true
			}
			return seen
		}
		port, vip := net.JoinHostPort(l.at.node, "30080"), net.JoinHostPort(l.at.vip, "80")
		l.put("012", l.balanced)
		if seen := answers(port); len(seen) != 3 {
			t.Errorf("60 connections reached %v: want all three", seen)
		}
		l.put("012", l.balanced, sticky)
		seen := answers(port)
		if len(seen) != 1 {
			t.Errorf("60 connections with affinity reached %v: want one", seen)
		}
		for name := range seen {
			if other := answers(vip); len(other) != 1 || !other[name] {
				t.Errorf("the cluster IP leads to %v, the node port to %s", other, name)
			}
			l.open()
			if n := l.sync(); n != 0 {
				t.Errorf("a restart changed %d elements", n)
			}
			if other := answers(vip); len(other) != 1 || !other[name] {
				t.Errorf("after a restart the cluster IP leads to %v, not %s", other, name)
			}
			gone := strings.TrimPrefix(name, "pod")
			l.put(strings.ReplaceAll("012", gone, ""), l.balanced, sticky)
			if other := answers(port); len(other) != 1 || other[name] {
				t.Errorf("without %s connections reach %v: want another one", name, other)
			}
		}
	})
}
