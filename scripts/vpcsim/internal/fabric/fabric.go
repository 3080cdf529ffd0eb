// Package fabric carries the packets of a simulated VPC: network namespaces,
// one veth pair per ENI, routes and nftables rules that follow a vpc.View.
//
//	node a ── eni-1 ──┐                ┌── igw ──┬── internet
//	       ── eni-2 ──┤                │         │
//	node b ── eni-3 ──┼── router ──────┼── nat ──┘
//	                  │                ├── peer
//	                  │                └── lb
//
// Create builds what is the same in every VPC; Sync brings the rest to what a
// view says. Sync keeps a set of small comparable objects (routes, addresses,
// devices, set elements) that it has applied, and touches only the difference.
// A step that has failed is tried again by the next Sync.
//
// Invariants:
//   - Everything is inside namespaces named <name>-*. The root namespace gets
//     no interface, address or route: veth pairs are born between two others.
//   - What is inside a node belongs to the node. The fabric makes a device
//     there, configures the primary one once as the operating system would,
//     and never looks at it again.
//   - The router delivers to present devices of attached ENIs only; all else
//     in the VPC's blocks vanishes without an answer.
package fabric

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/netip"
	"os"
	"sync"

	"github.com/vishvananda/netlink"
	"github.com/vishvananda/netns"

	"github.com/causeway-cni/causeway/scripts/vpcsim/internal/namespace"
	"github.com/causeway-cni/causeway/scripts/vpcsim/internal/vpc"
)

// Places of the fabric that are not nodes. With the simulator's name in front
// they are the names of namespaces: vpcsim-router.
const (
	Router   = "router"
	IGW      = "igw"
	NAT      = "nat"
	Peer     = "peer"
	Internet = "internet"
	LB       = "lb" // load balancers, whose rules package lb writes
)

// Addresses that are the same in every simulated VPC.
var (
	// EC2Addr is where the EC2 query API answers nodes, on port 80. It exists
	// in the simulator only; a real endpoint is found by name.
	EC2Addr = netip.MustParseAddr("169.254.171.1")
	// IMDSAddr and IMDSAddr6 are where the instance metadata service answers.
	IMDSAddr  = netip.MustParseAddr("169.254.169.254")
	IMDSAddr6 = netip.MustParseAddr("fd00:ec2::254")
	// InternetAddr is the host in the internet; InternetAddrs are all of its
	// addresses, so that a test can play several clients.
	InternetAddr  = netip.MustParseAddr("203.0.113.10")
	InternetAddrs = []netip.Addr{InternetAddr, InternetAddr.Next(), InternetAddr.Next().Next()}
	InternetAddr6 = netip.MustParseAddr("2001:db8:ec2::10")
	// NATAddr is the public address of the NAT gateway. The model keeps the
	// first ten addresses of its public pool free for such.
	NATAddr = netip.MustParseAddr("198.51.100.2")
)

// ControlPlane is where the Kubernetes API answers, on port 80: an address in
// the VPC, as EKS has network interfaces of the control plane there. It is the
// fourth of a subnet, which EC2 reserves and never gives to anyone.
func ControlPlane(v vpc.View) netip.Addr {
	a := v.Subnets[0].CIDR.Masked().Addr()
	for range 3 {
		a = a.Next()
	}
	return a
}

// Fabric is the data plane of one simulated VPC. Its methods may be called
// from several goroutines.
type Fabric struct {
	name string
	log  *slog.Logger

	mu      sync.Mutex
	have    map[object]bool
	handles map[string]*netlink.Handle // by place
}

// New returns the fabric of the simulator called name; nothing exists yet.
func New(name string, log *slog.Logger) *Fabric {
	return &Fabric{name: name, log: log, have: map[object]bool{}, handles: map[string]*netlink.Handle{}}
}

// Space returns the network namespace of a place: a node's name or one of
// Router, IGW, NAT, Peer, Internet and LB.
func (f *Fabric) Space(place string) string { return SpaceName(f.name, place) }

// SpaceName is Space without a Fabric at hand.
func SpaceName(name, place string) string { return name + "-" + place }

// Sync makes the fabric carry packets as v says. When nothing has changed it
// sends nothing to the kernel but one look at the router's links.
func (f *Fabric) Sync(ctx context.Context, v vpc.View) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	changes, err := f.plan(v)
	if err != nil {
		return err
	}
	return f.apply(ctx, v, changes)
}

// plan returns what is to be done to get from what there is to v.
func (f *Fabric) plan(v vpc.View) (changes, error) {
	if err := f.forgetLost(); err != nil {
		return changes{}, err
	}
	want, err := wanted(v)
	if err != nil {
		return changes{}, err
	}
	return diff(f.have, want), nil
}

// Close lets go of what the process holds. The namespaces stay; Remove takes
// them away.
func (f *Fabric) Close() {
	f.mu.Lock()
	defer f.mu.Unlock()
	for _, h := range f.handles {
		h.Close()
	}
	clear(f.handles)
}

// Remove ends every process in the namespaces of the simulator called name and
// removes the namespaces. It needs no Fabric, and none of what it removes has
// to be there: it is how the remains of a killed simulator go away too.
func Remove(ctx context.Context, name string) error {
	spaces, err := namespace.Names(name + "-")
	if err != nil {
		return err
	}
	errs := make([]error, len(spaces))
	var group sync.WaitGroup
	for i, s := range spaces {
		group.Go(func() { errs[i] = errors.Join(namespace.Kill(ctx, s), namespace.Remove(s)) })
	}
	group.Wait()
	return errors.Join(errs...)
}

// handle returns the netlink handle of a place, opened on first use.
func (f *Fabric) handle(place string) (*netlink.Handle, error) {
	if h := f.handles[place]; h != nil {
		return h, nil
	}
	file, err := os.Open(namespace.Path(f.Space(place)))
	if err != nil {
		return nil, fmt.Errorf("opening network namespace of %s: %w", place, err)
	}
	defer file.Close()
	h, err := netlink.NewHandleAt(netns.NsHandle(file.Fd()))
	if err != nil {
		return nil, fmt.Errorf("opening netlink in %s: %w", f.Space(place), err)
	}
	f.handles[place] = h
	return h, nil
}
