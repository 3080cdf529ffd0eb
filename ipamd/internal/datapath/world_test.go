package datapath

import (
	"context"
	"fmt"
	"log/slog"
	"net/netip"
	"os/exec"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/containernetworking/plugins/pkg/ns"

	"github.com/causeway-cni/causeway/ipamd/internal/pool"
	"github.com/causeway-cni/causeway/ipamd/linux"
	"github.com/causeway-cni/causeway/ipamd/linux/kernel"
	"github.com/causeway-cni/causeway/scripts/nstest"
)

// world is a namespace that plays the node, and one that has the other ends of
// its devices and of its pods' links.
type world struct {
	t            *testing.T
	kernel, away *kernel.Handle
	book         *book
	path         *Datapath
	now          time.Time
	changes      []string
}

// inNode runs a test in a world of its own.
func inNode(t *testing.T, body func(*testing.T, *world)) {
	t.Helper()
	node, away := nstest.New(t), nstest.New(t)
	if err := node.Do(func(ns.NetNS) error {
		w := &world{t: t, book: &book{}, now: time.Unix(1, 0)}
		var err error
		if w.kernel, err = kernel.Open(""); err != nil {
			return err
		}
		defer w.kernel.Close()
		if w.away, err = kernel.Open(away.Path()); err != nil {
			return err
		}
		defer w.away.Close()
		s := Settings{MTU: 9001, Mark: true, MarkValue: 0x80, VethPrefix: "eni", ExternalServices: []netip.Prefix{netip.MustParsePrefix("203.0.113.0/24")}}
		w.path = New(s, w.book, w.kernel, func() time.Time { return w.now }, slog.New(slog.DiscardHandler),
			func(c linux.Change) { w.changes = append(w.changes, c.String()) })
		body(t, w)
		return nil
	}); err != nil {
		t.Fatal(err)
	}
}

func ip(t *testing.T, args ...string) string {
	t.Helper()
	out, err := exec.Command("ip", args...).CombinedOutput()
	if err != nil {
		t.Fatalf("ip %s: %v\n%s", strings.Join(args, " "), err, out)
	}
	return string(out)
}

// step returns the changes that one Step made.
func (w *world) step() []string {
	w.t.Helper()
	w.changes = nil
	if err := w.path.Step(w.t.Context()); err != nil {
		w.t.Fatal(err)
	}
	return w.changes
}

// device makes the device of an ENI appear. Only the primary one is up, as an
// operating system leaves it.
func (w *world) device(name string, number int) {
	w.t.Helper()
	mac, err := linux.ParseMAC(eni(number).MAC)
	if err != nil {
		w.t.Fatal(err)
	}
	w.veth(linux.Link{Name: name, MAC: mac, MTU: 1500, Up: number == 0, Peer: linux.Peer{Name: "far" + name}})
}

// link makes the veth of a pod as the plugin does.
func (w *world) link(name string) {
	w.t.Helper()
	w.veth(linux.Link{Name: name, MTU: 9001, Up: true, Peer: linux.Peer{Name: "far" + name}})
}

func (w *world) veth(l linux.Link) {
	w.t.Helper()
	if err := w.kernel.Apply(linux.Diff(linux.State{}, linux.State{Links: []linux.Link{l}}), w.away); err != nil {
		w.t.Fatal(err)
	}
	down, up := linux.Link{Name: l.Peer.Name}, linux.Link{Name: l.Peer.Name, Up: true}
	if err := w.away.Apply(linux.Diff(linux.State{Links: []linux.Link{down}}, linux.State{Links: []linux.Link{up}}), nil); err != nil {
		w.t.Fatal(err)
	}
}

// pod holds an address and makes the link.
func (w *world) pod(name, address string, device int) {
	w.t.Helper()
	w.link("eni" + name)
	w.book.held = append(w.book.held, assignment(name, address, device))
}

func assignment(name, address string, device int) pool.Assignment {
	return pool.Assignment{
		Key:  pool.Key{Network: "causeway", ContainerID: name, Interface: "eth0"},
		Link: "eni" + name, MTU: 9001, Address: netip.MustParseAddr(address), ENI: eni(device).ID, Device: device,
	}
}

func eni(device int) pool.ENI {
	return pool.ENI{
		ID: pool.ENIID(fmt.Sprint("eni-", device)), Device: device, Primary: device == 0, Managed: true, Status: pool.Attached,
		MAC: fmt.Sprintf("02:00:00:00:01:%02x", device), SubnetCIDR: netip.MustParsePrefix("10.0.0.0/24"),
		Address: netip.AddrFrom4([4]byte{10, 0, 0, byte(5 + device)}),
	}
}

// book is the allocator as the datapath sees it.
type book struct {
	enis  []pool.ENI
	held  []pool.Assignment
	ready map[pool.ENIID]bool
}

func (b *book) ENIs() []pool.ENI                   { return b.enis }
func (b *book) Assignments() []pool.Assignment     { return slices.Clone(b.held) }
func (b *book) SetReady(ready map[pool.ENIID]bool) { b.ready = ready }

func (b *book) ReleaseAdopted(exists func(string) bool) error {
	b.held = slices.DeleteFunc(b.held, func(a pool.Assignment) bool { return a.Adopted && !exists(a.Link) })
	return nil
}

func (b *book) Release(_ context.Context, key pool.Key, _ string, _ []netip.Addr, _ string) (pool.Assignment, bool, error) {
	i := slices.IndexFunc(b.held, func(a pool.Assignment) bool { return a.Key == key })
	if i < 0 {
		return pool.Assignment{}, false, nil
	}
	released := b.held[i]
	b.held = slices.Delete(b.held, i, i+1)
	return released, true, nil
}

func (b *book) Adopt(address, second netip.Addr, link string, device int) error {
	b.held = append(b.held, pool.Assignment{Key: pool.Key{ContainerID: "adopted"}, Address: address, Second: second, Link: link, Device: device, Adopted: true})
	return nil
}

func (b *book) Import(a pool.Assignment) (bool, error) {
	if slices.ContainsFunc(b.held, func(h pool.Assignment) bool { return h.Address == a.Address }) {
		return false, nil
	}
	b.held = append(b.held, a)
	return true, nil
}
