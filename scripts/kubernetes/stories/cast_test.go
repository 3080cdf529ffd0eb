//go:build cluster

package stories

import (
	"encoding/json"
	"net/netip"
	"os"
	"slices"

	"github.com/causeway-cni/causeway/scripts/kubernetes"
)

// site is a node with two web pods on its primary ENI and two on others.
type site struct {
	self       end // the node's own processes
	public     netip.Addr
	own        []netip.Addr // primary addresses of its ENIs
	p1, other1 end
	p2, other2 end
}

// cast is the first two nodes, with so many web pods that each has two on either
// kind of ENI.
func (s story) cast() (n1, n2 site) {
	s.Helper()
	for replicas := 32; ; replicas += 12 {
		s.web(replicas)
		n1, n2 = s.site(s.cluster.Nodes[0]), s.site(s.cluster.Nodes[1])
		if n1.whole() && n2.whole() {
			break
		}
		if replicas > 2*50 {
			s.Fatalf("%d web pods are not on two ENIs of each node", replicas)
		}
	}
	for _, n := range []*site{&n1, &n2} {
		for _, e := range []*end{&n.self, &n.p1, &n.other1, &n.p2, &n.other2} {
			netns, err := s.node(n.self.addr.String()).Netns(e.addr)
			if err != nil {
				s.Fatal(err)
			}
			*e = s.end(e.name, e.addr, netns)
		}
		s.Logf("%s: %s and %s on the primary ENI, %s and %s on others", n.self.name, n.p1.name, n.other1.name, n.p2.name, n.other2.name)
	}
	return n1, n2
}

// end closes the network namespace when the story ends.
func (s story) end(name string, addr netip.Addr, netns *os.File) end {
	s.Cleanup(func() { netns.Close() })
	return end{name, addr, netns}
}

func (n site) whole() bool { return n.other1.name != "" && n.other2.name != "" }

// site finds where the web pods of a node live.
func (s story) site(node *kubernetes.Node) site {
	s.Helper()
	n := site{self: end{name: node.Name, addr: node.Addr}}
	devices := map[netip.Addr]int{}
	status, err := s.cluster.Control.Status(s.ctx)
	if err != nil {
		s.Fatal(err)
	}
	for _, v := range status.Nodes {
		if v.Interfaces[0].Addresses[0] != node.Addr {
			continue
		}
		if n.public, err = netip.ParseAddr(v.Interfaces[0].Public[node.Addr.String()]); err != nil {
			s.Fatalf("node %s has no public address: %v", node.Name, err)
		}
		for _, eni := range v.Interfaces {
			n.own = append(n.own, eni.Addresses[0])
			for _, a := range eni.Addresses {
				devices[a] = eni.DeviceIndex
			}
		}
	}
	var pods struct {
		Items []struct {
			Metadata struct{ Name string }
			Spec     struct{ NodeName string }
			Status   struct{ PodIP string }
		}
	}
	if err := json.Unmarshal([]byte(s.kubectl("get", "pods", "-l", "app=web", "-o", "json")), &pods); err != nil {
		s.Fatal(err)
	}
	for _, p := range pods.Items {
		if p.Spec.NodeName != node.Name {
			continue
		}
		e := end{name: p.Metadata.Name, addr: netip.MustParseAddr(p.Status.PodIP)}
		slots := []*end{&n.p1, &n.other1}
		if devices[e.addr] != 0 {
			slots = []*end{&n.p2, &n.other2}
		}
		if i := slices.IndexFunc(slots, func(slot *end) bool { return slot.name == "" }); i >= 0 {
			*slots[i] = e
		}
	}
	return n
}
