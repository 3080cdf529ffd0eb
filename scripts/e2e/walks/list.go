package walks

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"time"

	"github.com/causeway-cni/causeway/scripts/e2e/harness"
)

// Hosts beyond the VPC.
var (
	internet = netip.MustParseAddr("203.0.113.10")
	another  = netip.MustParseAddr("203.0.113.11") // of the internet, whom nobody spoke to before
	peer     = netip.MustParseAddr("172.31.0.10")
)

// List is every walk in the order of its number.
func List() []Walk {
	return slices.Concat(podWalks(), serviceWalks(), balancerWalks(), moreWalks())
}

func podWalks() []Walk {
	return []Walk{
		{"W01", "pod to pod, same node, same ENI", func(ctx context.Context, w *World) ([]Step, error) {
			return all(ctx, podToPod(w.N1, w.N1.P1, w.N1, w.N1.Other1), podToPod(w.N1, w.N1.P2, w.N1, w.N1.Other2))
		}},
		{"W02", "pod to pod, same node, different ENIs", func(ctx context.Context, w *World) ([]Step, error) {
			return all(ctx, podToPod(w.N1, w.N1.P1, w.N1, w.N1.P2), podToPod(w.N1, w.N1.P2, w.N1, w.N1.P1))
		}},
		{"W03", "primary ENI to primary ENI of another node", func(ctx context.Context, w *World) ([]Step, error) {
			return all(ctx, podToPod(w.N1, w.N1.P1, w.N2, w.N2.P1))
		}},
		{"W04", "primary ENI to secondary ENI of another node", func(ctx context.Context, w *World) ([]Step, error) {
			return all(ctx, podToPod(w.N1, w.N1.P1, w.N2, w.N2.P2))
		}},
		{"W05", "secondary ENI to primary ENI of another node", func(ctx context.Context, w *World) ([]Step, error) {
			return all(ctx, podToPod(w.N1, w.N1.P2, w.N2, w.N2.P1))
		}},
		{"W06", "secondary ENI to secondary ENI, both directions", func(ctx context.Context, w *World) ([]Step, error) {
			return all(ctx, podToPod(w.N1, w.N1.P2, w.N2, w.N2.P2), podToPod(w.N2, w.N2.P2, w.N1, w.N1.P2))
		}},
		{"W07", "node to its own pods, and back", func(ctx context.Context, w *World) ([]Step, error) {
			return all(ctx, nodeToPod(w.N1, w.N1, w.N1.P1), nodeToPod(w.N1, w.N1, w.N1.P2),
				podToNode(w.N1, w.N1.P1, w.N1), podToNode(w.N1, w.N1.P2, w.N1))
		}},
		{"W08", "node to pods of another node, and back", func(ctx context.Context, w *World) ([]Step, error) {
			return all(ctx, nodeToPod(w.N1, w.N2, w.N2.P1), nodeToPod(w.N1, w.N2, w.N2.P2),
				podToNode(w.N2, w.N2.P1, w.N1), podToNode(w.N2, w.N2.P2, w.N1))
		}},
		{"W09", "pod to the internet", func(ctx context.Context, w *World) ([]Step, error) {
			return all(ctx, abroad(w.N1, w.N1.P1, internet, "internet", w.N1.Public, "eth0", true),
				abroad(w.N1, w.N1.P2, internet, "internet", w.N1.Public, "eth0", true))
		}},
		{"W10", "pod to the internet, external SNAT", externalSNAT},
		{"W11", "pod to an excluded CIDR (peered VPC)", func(ctx context.Context, w *World) ([]Step, error) {
			return all(ctx, abroad(w.N1, w.N1.P1, peer, "peer", w.N1.P1.IP, "eth0", false),
				abroad(w.N1, w.N1.P2, peer, "peer", w.N1.P2.IP, link(w.N1.P2), false))
		}},
		{"W12", "pod to a CIDR block added to the VPC", secondCIDR},
	}
}

// abroad is a way that ends outside the nodes.
func abroad(s *Site, from *harness.Pod, to netip.Addr, name string, source netip.Addr, out string, random bool) way {
	return way{from: from, fromSite: s, fromName: from.Name + " " + from.IP.String(), to: to, toName: name + " " + to.String(),
		source: source, out: out, randomPort: random}
}

// externalSNAT restarts ipamd with external SNAT on, in a subnet whose default
// route is a NAT gateway: pods leave by their own ENI with their own address,
// and the internet sees the gateway. Flows that are known keep their way, and UDP
// may take the port of one of those again: they ask another host than W09.
func externalSNAT(ctx context.Context, w *World) (steps []Step, err error) {
	status, err := w.Lab.Control.Status(ctx)
	if err != nil {
		return nil, err
	}
	subnet := status.Nodes[0].Subnet
	if err := w.Lab.Control.SetEgress(ctx, subnet, "nat"); err != nil {
		return nil, err
	}
	if err := w.N1.restart(ctx, "AWS_VPC_K8S_CNI_EXTERNALSNAT=true"); err != nil {
		return nil, err
	}
	defer func() {
		err = errors.Join(err, w.Lab.Control.SetEgress(ctx, subnet, "igw"), w.N1.restart(ctx))
	}()
	gateway := netip.MustParseAddr("198.51.100.2")
	return all(ctx, abroad(w.N1, w.N1.P1, another, "internet", gateway, "eth0", false),
		abroad(w.N1, w.N1.P2, another, "internet", gateway, link(w.N1.P2), false))
}

// restart stops ipamd and starts it with further environment.
func (s *Site) restart(ctx context.Context, env ...string) error {
	if err := s.Node.Daemon().Stop(); err != nil {
		return err
	}
	if _, err := s.Node.StartIpamd(append(append([]string{}, environment...), env...)...); err != nil {
		return err
	}
	return s.Node.AwaitReady(ctx)
}

// cidrDeadline is how soon a new block of the VPC must be honoured.
const cidrDeadline = 30 * time.Second

// secondCIDR adds a block to the VPC of running nodes.
func secondCIDR(ctx context.Context, w *World) ([]Step, error) {
	block := netip.MustParsePrefix("100.64.0.0/16")
	if err := w.Lab.Control.AddCIDR(ctx, block); err != nil {
		return nil, err
	}
	there := netip.MustParseAddr("100.64.0.10")
	ways := []way{abroad(w.N1, w.N1.P1, there, "second block", w.N1.P1.IP, "eth0", false),
		abroad(w.N1, w.N1.P2, there, "second block", w.N1.P2.IP, link(w.N1.P2), false)}
	deadline, cancel := context.WithTimeout(ctx, cidrDeadline)
	defer cancel()
	began := time.Now()
	var steps []Step
	err := harness.Poll(deadline, func() (err error) {
		steps, err = all(ctx, ways...)
		for _, s := range steps {
			if s.Want != "" && err == nil {
				err = fmt.Errorf("%s -> %s: saw %s, want %s", s.From, s.To, s.Saw, s.Want)
			}
		}
		return err
	})
	if err != nil {
		return steps, fmt.Errorf("not honoured within %s: %w", cidrDeadline, err)
	}
	steps[0].Saw += fmt.Sprintf(" (%s after the block was added)", time.Since(began).Round(100*time.Millisecond))
	return steps, nil
}
