// Package datapath keeps the node's links, routes and rules as hostnet plans
// them: Step observes the kernel, asks for the plan, and applies the
// difference. Nothing is removed first and added again, so a restart of the
// daemon, or a Step with nothing to do, is not seen by any packet.
//
// It also says which ENIs can carry pods: those whose device is there and
// whose routes are in place.
package datapath

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/netip"
	"strings"
	"time"

	"github.com/causeway-cni/causeway/cni-plugin/podnet"
	"github.com/causeway-cni/causeway/config"
	"github.com/causeway-cni/causeway/ipamd/internal/hostnet"
	"github.com/causeway-cni/causeway/ipamd/internal/pool"
	"github.com/causeway-cni/causeway/ipamd/linux"
	"github.com/causeway-cni/causeway/ipamd/linux/kernel"
)

// Book is the part of the allocator that the datapath depends on.
type Book interface {
	// ENIs returns the interfaces attached to this node.
	ENIs() []pool.ENI
	// Assignments returns what is held now.
	Assignments() []pool.Assignment
	// SetReady says which ENIs can carry pods.
	SetReady(map[pool.ENIID]bool)
	// ReleaseAdopted takes back adopted addresses whose link is not among
	// those that exist.
	ReleaseAdopted(exists func(link string) bool) error
	// Release takes back what an attachment holds.
	Release(ctx context.Context, key pool.Key, link string, addresses []netip.Addr, reason string) (pool.Assignment, bool, error)
	// Adopt holds an address that was found in use with no record, and a second
	// one if the pod has two.
	Adopt(address, second netip.Addr, link string, device int) error
	// Import holds an address as another agent recorded it; false if the book
	// knows better.
	Import(pool.Assignment) (bool, error)
}

// Settings are those of the node's network.
type Settings struct {
	MTU              int
	Mark             bool
	MarkValue        uint32
	VethPrefix       string
	ExternalServices []netip.Prefix // destinations that the main table routes for all pods
	Gone             func()         // told of each pod that was found to be gone; nil: nobody is
}

// Datapath joins the plan and the kernel.
type Datapath struct {
	settings Settings
	book     Book
	kernel   *kernel.Handle
	now      func() time.Time
	log      *slog.Logger
	applied  func(linux.Change) // for the metrics
	dead     map[string]time.Time
	// sandboxes are those of the assignments at the last look.
	sandboxes map[pool.Key]sandbox
}

// New returns a Datapath for the namespace of handle. applied is told of every
// change that was made.
func New(s Settings, book Book, handle *kernel.Handle, now func() time.Time, log *slog.Logger, applied func(linux.Change)) *Datapath {
	return &Datapath{settings: s, book: book, kernel: handle, now: now, log: log, applied: applied, dead: map[string]time.Time{}}
}

// looks is how often a Step looks anew when a change fails: a pod's link may
// go at any moment, and then its routes need not be there.
const looks = 3

// Step brings the kernel to the plan. What cannot be done is reported at the
// end, and keeps only the ENIs that it is about from carrying pods.
func (d *Datapath) Step(ctx context.Context) error {
	var links []linux.Link
	var node hostnet.Node
	var left []linux.Change
	var err error
	for range looks {
		if links, node, left, err = d.converge(); err == nil {
			break
		}
	}
	if links == nil {
		return fmt.Errorf("observing the node's network: %w", err)
	}
	if err != nil {
		err = fmt.Errorf("repairing the node's network: %w", err)
	}
	d.book.SetReady(readyENIs(node, left))
	return errors.Join(err, d.releaseAdopted(links), d.releaseGone(ctx, links), d.bury(links))
}

// converge observes, plans and applies once; left is what it could not apply.
// The order of its observations matters: what is seen in the kernel was
// assigned before, so assignments are read last and a pod that is being wired
// is never taken for a leftover.
func (d *Datapath) converge() (links []linux.Link, node hostnet.Node, left []linux.Change, err error) {
	first, err := d.kernel.Links()
	if err != nil {
		return nil, node, nil, err
	}
	node = d.settings.node(d.book.ENIs(), first)
	have, err := d.kernel.Observe(hostnet.Scope(node))
	if err != nil {
		return nil, node, nil, err
	}
	node.Pods = d.pods(have.Links)
	want := hostnet.Plan(node)
	have.Sysctls = kernel.Sysctls(want.SysctlKeys())
	changes := linux.Diff(have, want)
	if err := d.kernel.Apply(changes, nil); err != nil {
		return have.Links, node, changes, err
	}
	for _, c := range changes {
		d.log.Info("node network: " + c.String())
		d.applied(c)
	}
	return have.Links, node, nil, nil
}

// node describes the ENIs whose devices are there, of those that are ours to
// use: how the node routes the others is their owner's affair.
func (s Settings) node(enis []pool.ENI, links []linux.Link) hostnet.Node {
	names := make(map[linux.MAC]string, len(links))
	for _, l := range links {
		// A VLAN or a bridge on the device has its address too, and came later.
		if _, older := names[l.MAC]; !older && !strings.HasPrefix(l.Name, s.VethPrefix) {
			names[l.MAC] = l.Name
		}
	}
	n := hostnet.Node{MTU: s.MTU, Mark: s.Mark, MarkValue: s.MarkValue, VethPrefix: s.VethPrefix,
		ExternalServices: s.ExternalServices}
	for _, e := range enis {
		if !e.Managed || e.Card != 0 {
			continue
		}
		mac, err := linux.ParseMAC(e.MAC)
		if name := names[mac]; err == nil && name != "" && (e.Status == pool.Attached || e.Status == pool.Attaching) {
			n.ENIs = append(n.ENIs, hostnet.ENI{
				ID: string(e.ID), Link: name, Primary: e.Primary, Table: hostnet.Table(e.Device), Gateway: e.Gateway(), Address: e.Address,
				IPv6: len(e.Prefixes6) > 0,
			})
		}
	}
	return n
}

// pods are those whose link is there; one that is dead or not yet made has
// nothing to keep.
func (d *Datapath) pods(links []linux.Link) []podnet.Assignment {
	alive := make(map[string]bool, len(links))
	for _, l := range links {
		alive[l.Name] = l.Group != config.DeadLinkGroup
	}
	var pods []podnet.Assignment
	for _, a := range d.book.Assignments() {
		if alive[a.Link] {
			pods = append(pods, wiring(a))
		}
	}
	return pods
}

// wiring is how a pod with this assignment is wired.
func wiring(a pool.Assignment) podnet.Assignment {
	wired := podnet.Assignment{HostLink: a.Link, PodLink: a.Key.Interface, MTU: a.MTU}
	for _, ip := range a.Addresses() {
		wired.Addresses = append(wired.Addresses, podnet.Address{IP: ip, Gateway: podnet.Gateway(ip), Table: hostnet.Table(a.Device)})
	}
	return wired
}

// readyENIs are those whose device and routes are in place. A setting that
// could not be changed, on a read-only /proc/sys say, is told but keeps no pod.
func readyENIs(node hostnet.Node, left []linux.Change) map[pool.ENIID]bool {
	missing := map[string]bool{} // links
	for _, c := range left {
		switch item := c.Item.(type) {
		case linux.Link:
			missing[item.Name] = true
		case linux.Route:
			missing[item.Link] = true
		}
	}
	ready := make(map[pool.ENIID]bool, len(node.ENIs))
	for _, e := range node.ENIs {
		ready[pool.ENIID(e.ID)] = !missing[e.Link]
	}
	return ready
}

func (d *Datapath) releaseAdopted(links []linux.Link) error {
	exists := make(map[string]bool, len(links))
	for _, l := range links {
		exists[l.Name] = true
	}
	return d.book.ReleaseAdopted(func(link string) bool { return exists[link] })
}

// graceOfDead is how long a deleted pod's link may stay until its namespace
// has taken it along, as nearly always happens.
const graceOfDead = 3 * time.Second

// bury deletes links of deleted pods, all in one step.
func (d *Datapath) bury(links []linux.Link) error {
	still := make(map[string]time.Time, len(d.dead))
	now, overdue := d.now(), false
	for _, l := range links {
		if l.Group != config.DeadLinkGroup {
			continue
		}
		since, seen := d.dead[l.Name]
		if !seen {
			since = now
		}
		still[l.Name] = since
		overdue = overdue || now.Sub(since) >= graceOfDead
	}
	d.dead = still
	if !overdue {
		return nil
	}
	d.log.Info("deleting links of deleted pods whose namespaces stay", "links", len(still))
	return d.kernel.DeleteGroup(config.DeadLinkGroup)
}
