// Package walks sends packets along the walks that a node must carry, each
// under its number, and compares what both ends and the wire saw with what
// must be seen. The demo prints them; the end-to-end tests demand them.
package walks

import (
	"context"
	"fmt"
	"maps"
	"net/netip"
	"slices"
	"strconv"
	"strings"

	"github.com/causeway-cni/causeway/scripts/e2e/harness"
)

// World is two nodes with serving pods on both ENIs of each.
type World struct {
	Lab    *harness.Lab
	VPC    netip.Prefix
	N1, N2 *Site
	fronts uint16 // ports of load balancers so far
}

// Site is a node and four of its pods.
type Site struct {
	Node    *harness.Node
	Primary netip.Addr // of the node: the primary address of the primary ENI
	// Secondary is the primary address of the ENI of P2.
	Secondary netip.Addr
	Public    netip.Addr
	Zone      string
	// P1 and Other1 are pods of the primary ENI, P2 and Other2 of a
	// secondary one.
	P1, Other1, P2, Other2 *harness.Pod
	Pods                   []*harness.Pod
}

// environment of ipamd on both nodes.
var environment = []string{"AWS_VPC_K8S_CNI_EXCLUDE_SNAT_CIDRS=" + peerCIDR}

const peerCIDR = "172.31.0.0/16"

// Settle starts ipamd on both nodes and adds pods until two ENIs of each node
// carry two of them.
func Settle(ctx context.Context, lab *harness.Lab, say func(string, ...any)) (*World, error) {
	status, err := lab.Control.Status(ctx)
	if err != nil {
		return nil, err
	}
	w := &World{Lab: lab, VPC: status.CIDRs[0]}
	for _, s := range []struct {
		name string
		site **Site
	}{{"n1", &w.N1}, {"n2", &w.N2}} {
		site, err := settle(ctx, lab.Node(s.name), say)
		if err != nil {
			return nil, err
		}
		*s.site = site
	}
	return w, nil
}

func settle(ctx context.Context, node *harness.Node, say func(string, ...any)) (*Site, error) {
	if _, err := node.StartIpamd(environment...); err != nil {
		return nil, err
	}
	if err := node.AwaitReady(ctx); err != nil {
		return nil, err
	}
	s := &Site{Node: node}
	for i := 1; s.P2 == nil || s.Other2 == nil; i++ {
		p, err := node.AddPod(ctx, fmt.Sprintf("%s-pod%d", node.Name, i), hostPortsOf(i)...)
		if err != nil {
			return nil, err
		}
		s.take(p)
	}
	if err := s.findAddresses(ctx); err != nil {
		return nil, err
	}
	for _, p := range []*harness.Pod{s.P1, s.Other1, s.P2, s.Other2} {
		if err := p.Serve(ctx); err != nil {
			return nil, err
		}
	}
	if err := node.Serve(ctx); err != nil {
		return nil, err
	}
	say("%s (%s): %d pods; %s and %s on the primary ENI, %s and %s on the secondary",
		node.Name, s.Primary, len(s.Pods), s.P1.IP, s.Other1.IP, s.P2.IP, s.Other2.IP)
	return s, nil
}

// hostPortsOf are those of a node's i-th pod.
func hostPortsOf(i int) (out []harness.HostPort) {
	for _, proto := range []string{"tcp", "udp"} {
		out = append(out, harness.HostPort{HostPort: 8000 + i, ContainerPort: harness.Port, Protocol: proto})
	}
	return out
}

// inZone is the site of a zone.
func (w *World) inZone(zone string) *Site {
	if w.N2.Zone == zone {
		return w.N2
	}
	return w.N1
}

func (s *Site) take(p *harness.Pod) {
	s.Pods = append(s.Pods, p)
	slots := []**harness.Pod{&s.P1, &s.Other1}
	if p.Device != 0 {
		slots = []**harness.Pod{&s.P2, &s.Other2}
		if s.P2 != nil && p.Device != s.P2.Device {
			return
		}
	}
	for _, slot := range slots {
		if *slot == nil {
			*slot = p
			return
		}
	}
}

func (s *Site) findAddresses(ctx context.Context) error {
	status, err := s.Node.Status(ctx)
	if err != nil {
		return err
	}
	primary := status.Interfaces[0]
	s.Primary, s.Zone = primary.Addresses[0], status.Zone
	s.Public, err = netip.ParseAddr(primary.Public[s.Primary.String()])
	if err != nil {
		return fmt.Errorf("node %s has no public address: %w", s.Node.Name, err)
	}
	for _, e := range status.Interfaces {
		if e.ID == s.P2.ENI {
			s.Secondary = e.Addresses[0]
		}
	}
	return nil
}

// links counts the packets that a node's ENIs sent and received.
type links map[string]struct{ rx, tx uint64 }

func (s *Site) links(ctx context.Context) (links, error) {
	text, err := s.Node.Exec(ctx, "cat", "/proc/net/dev")
	if err != nil {
		return nil, err
	}
	out := links{}
	for _, line := range strings.Split(text, "\n") {
		name, counts, found := strings.Cut(line, ":")
		fields := strings.Fields(counts)
		if name = strings.TrimSpace(name); !found || !strings.HasPrefix(name, "eth") || len(fields) < 10 {
			continue
		}
		rx, _ := strconv.ParseUint(fields[1], 10, 64)
		tx, _ := strconv.ParseUint(fields[9], 10, 64)
		out[name] = struct{ rx, tx uint64 }{rx, tx}
	}
	return out, nil
}

// used names the ENIs over which at least n packets went out and came in.
func (before links) used(after links, n uint64) (out, in string) {
	var tx, rx []string
	for _, name := range []string{"eth0", "eth1", "eth2"} {
		if after[name].tx-before[name].tx >= n {
			tx = append(tx, name)
		}
		if after[name].rx-before[name].rx >= n {
			rx = append(rx, name)
		}
	}
	return strings.Join(tx, "+"), strings.Join(rx, "+")
}

// passed says how many packets went out and came in by each ENI.
func (before links) passed(after links) string {
	var all []string
	for _, name := range slices.Sorted(maps.Keys(after)) {
		all = append(all, fmt.Sprintf("%s %d out, %d in", name, after[name].tx-before[name].tx, after[name].rx-before[name].rx))
	}
	return strings.Join(all, "; ")
}
