// Package compare says in what the book of assignments, EC2 and the kernel
// disagree, each difference as a value. It is pure, and repairs nothing: what
// each kind means, and who sees to it, is said at its name.
//
// What is in the making looks like a difference, too. One that counts is there
// at two looks in a row.
package compare

import (
	"cmp"
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"time"

	"github.com/causeway-cni/causeway/config"
	"github.com/causeway-cni/causeway/ipamd/internal/pool"
	"github.com/causeway-cni/causeway/ipamd/linux"
)

// Book is what we know.
type Book struct {
	Assignments []pool.Assignment
	Cooling     map[netip.Addr]time.Time
}

// Node is what the kernel shows. It is looked at before the book: what is there
// was assigned before.
type Node struct {
	Links      []linux.Link
	VethPrefix string        // of the names of pods' links
	Routes     []linux.Route // to pods
	Addresses  []netip.Addr  // of any link
}

// Difference is one. Two are the same if they are equal.
type Difference struct {
	Kind Kind
	Of   string // the address, ENI or link
	Text string // what is different, for people
}

// String is one line for people.
func (d Difference) String() string { return fmt.Sprintf("%s %s: %s", d.Kind, d.Of, d.Text) }

// Differences compares the book, EC2's last description, put right by its later
// answers, and the kernel. They are sorted.
func Differences(book Book, enis []pool.ENI, node Node) []Difference {
	c := comparison{Book: book, enis: enis, node: node, held: map[netip.Addr]bool{}, links: map[string]bool{}}
	for _, a := range book.Assignments {
		for _, address := range a.Addresses() {
			c.held[address] = true
		}
	}
	for _, l := range node.Links {
		c.links[l.Name] = true
	}
	for _, a := range book.Assignments {
		c.assignment(a)
	}
	for _, e := range enis {
		c.eni(e)
	}
	c.inUse()
	c.unknownLinks()
	slices.SortFunc(c.found, func(a, b Difference) int {
		return cmp.Or(cmp.Compare(a.Kind, b.Kind), strings.Compare(a.Of, b.Of), strings.Compare(a.Text, b.Text))
	})
	return slices.Compact(c.found)
}

type comparison struct {
	Book
	enis  []pool.ENI
	node  Node
	held  map[netip.Addr]bool
	links map[string]bool
	found []Difference
}

func (c *comparison) tell(k Kind, of any, text string, args ...any) {
	c.found = append(c.found, Difference{k, fmt.Sprint(of), fmt.Sprintf(text, args...)})
}

// owner is the ENI that has an address.
func (c *comparison) owner(a netip.Addr) *pool.ENI {
	for i := range c.enis {
		if c.enis[i].Has(a) {
			return &c.enis[i]
		}
	}
	return nil
}

func (c *comparison) assignment(a pool.Assignment) {
	pod := a.Pod.Namespace + "/" + a.Pod.Name
	for _, address := range a.Addresses() {
		switch owner := c.owner(address); {
		case owner == nil:
			c.tell(AddressLost, address, "pod %s holds it, and no ENI of this node has it", pod)
		case owner.ID != a.ENI:
			c.tell(AddressMoved, address, "pod %s holds it as one of %q, and %s has it", pod, a.ENI, owner.ID)
		}
	}
	if a.Link != "" && !c.links[a.Link] {
		c.tell(SandboxGone, a.Address, "pod %s holds it, and its link %s is not there", pod, a.Link)
	}
}

func (c *comparison) eni(e pool.ENI) {
	for _, part := range e.Quarantined {
		c.tell(AddressUnknown, strings.TrimSuffix(part.String(), "/32"), "EC2 shows it on %s, and nobody here asked for it", e.ID)
	}
	mac, err := linux.ParseMAC(e.MAC)
	hasDevice := err == nil && slices.ContainsFunc(c.node.Links, func(l linux.Link) bool { return l.MAC == mac })
	switch {
	case e.Missing:
		c.tell(ENIMissing, e.ID, "pods hold addresses of it, and EC2 does not show it")
	case e.Status == pool.Available:
		c.tell(ENIUnattached, e.ID, "it is attached to nothing")
	case e.Status == pool.Attached && e.Managed && !hasDevice:
		c.tell(DeviceMissing, e.ID, "it is attached, and the node has no link with its MAC %s", e.MAC)
	}
}

// inUse looks for addresses that are free for pods, and in use.
func (c *comparison) inUse() {
	used := func(a netip.Addr, text string, args ...any) {
		if _, cooling := c.Cooling[a]; !cooling && !c.held[a] && c.owner(a) != nil {
			c.tell(AddressInUse, a, text, args...)
		}
	}
	for _, a := range c.node.Addresses {
		used(a, "the node itself has it")
	}
	for _, r := range c.node.Routes {
		used(r.Dst.Addr(), "the node has a route for it to link %s", r.Link)
	}
}

// unknownLinks looks for links of pods that nobody was assigned.
func (c *comparison) unknownLinks() {
	assigned := map[string]bool{}
	for _, a := range c.Assignments {
		assigned[a.Link] = true
	}
	for _, l := range c.node.Links {
		if strings.HasPrefix(l.Name, c.node.VethPrefix) && l.Group != config.DeadLinkGroup && !assigned[l.Name] {
			c.tell(LinkUnknown, l.Name, "no assignment names it")
		}
	}
}

// InUse are the addresses of differences that keep them from being handed out.
func InUse(found []Difference) []netip.Addr {
	var out []netip.Addr
	for _, d := range found {
		if a, err := netip.ParseAddr(d.Of); err == nil && d.Kind == AddressInUse {
			out = append(out, a)
		}
	}
	return out
}
