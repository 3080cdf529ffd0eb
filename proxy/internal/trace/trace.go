// Package trace walks packets through rules as values and says what becomes of
// them: which link they leave by, what is translated, and why.
//
// It knows the hooks that a packet meets on its way in, through and out of a
// node, connection tracking, and the routing of a node (rules 512, 1024 and
// 1536). Built-in chains accept what no rule decides. It sends nothing and
// reads no kernel. What it does not know it refuses to guess: a rule-set whose
// jumps lead nowhere is an error.
package trace

import (
	"fmt"
	"net/netip"

	"github.com/causeway-cni/causeway/proxy/internal/ruleset"
)

// Pod is where a pod's packets come in, and where they go by its own table.
type Pod struct {
	Veth string
	ENI  string // link of the ENI that owns the pod's address
}

// Node is all that decides a packet's way.
type Node struct {
	// Rules may have a table several times: its rules come in that order.
	Rules   ruleset.Ruleset
	Mark    uint32                // selects the main table (rule 1024)
	Primary string                // link of the main table's default route
	Local   map[netip.Addr]string // the node's own addresses, with their links
	Pods    map[netip.Addr]Pod
	// Lists are the sources that rules have seen, by the list's name. A nil map
	// remembers nothing. Time is the caller's to play, by deleting.
	Lists map[string]map[netip.Addr]bool
}

// Packet is a packet as it comes in.
type Packet struct {
	In       string // link; "" if a process of the node sends it
	Src, Dst netip.Addr
	Protocol string // as "tcp"; "" if it does not matter
	Port     uint16 // destination; 0 if it does not matter
}

// Where a packet may end up, besides links.
const (
	Local    = "local"    // a process of the node has it
	Dropped  = "dropped"  // without a word
	Rejected = "rejected" // with an answer
)

// Fate is what becomes of a packet.
type Fate struct {
	Out      string // link that it leaves by, or Local, Dropped or Rejected
	Src, Dst netip.Addr
	Port     uint16   // destination; 0 if it does not matter
	Marked   bool     // routed by the main table because of the mark
	Path     []string // rules that held, as "table chain: rule"
}

// String is the fate without its path.
func (f Fate) String() string {
	if f.Out == Dropped || f.Out == Rejected {
		return f.Out
	}
	to, mark := f.Dst.String(), ""
	if f.Port != 0 {
		to = netip.AddrPortFrom(f.Dst, f.Port).String()
	}
	if f.Marked {
		mark = " marked"
	}
	return fmt.Sprintf("%s -> %s by %s%s", f.Src, to, f.Out, mark)
}

// Conn is a connection as conntrack keeps it.
type Conn struct {
	node     Node
	first    Packet
	snat     netip.Addr     // zero if not translated
	endpoint netip.AddrPort // the destination, or what DNAT made of it
	dnat     bool
	mark     uint32
}

// Open follows the first packet of a connection. Where rules leave it to
// chance, each holds that can.
func (n Node) Open(p Packet) (*Conn, Fate, error) {
	return n.open(p, &luck{})
}

// Fates are all that can become of the first packet of a connection, in the
// order of the rules that leave it to chance. They must not have memory.
func (n Node) Fates(p Packet) ([]Fate, error) {
	n.Lists = nil
	var all []Fate
	for l := (&luck{}); ; {
		_, fate, err := n.open(p, l)
		if err != nil {
			return nil, err
		}
		all = append(all, fate)
		if !l.next() {
			return all, nil
		}
	}
}

func (n Node) open(p Packet, l *luck) (*Conn, Fate, error) {
	c := &Conn{node: n, first: p, endpoint: netip.AddrPortFrom(p.Dst, p.Port)}
	w := c.walk(p.In, p.Src, p.Dst, "NEW")
	w.luck = l
	err := w.first()
	return c, w.fate(), err
}

// Next follows a later packet in the direction of the first.
func (c *Conn) Next(in string) (Fate, error) {
	w := c.walk(in, c.first.Src, c.first.Dst, "ESTABLISHED")
	err := w.later(c.endpoint.Addr(), c.snat)
	f := w.fate()
	f.Port = c.endpoint.Port()
	return f, err
}

// Reply follows a packet of the answer, which comes in by a link. Its
// destination is restored before routing, its source after.
func (c *Conn) Reply(in string) (Fate, error) {
	to, restored := c.first.Src, netip.Addr{}
	if c.snat.IsValid() {
		to = c.snat
	}
	if c.dnat {
		restored = c.first.Dst
	}
	w := c.walk(in, c.endpoint.Addr(), to, "ESTABLISHED")
	w.port = 0 // the client's own, which no rule asks for
	err := w.later(c.first.Src, restored)
	return w.fate(), err
}

func (c *Conn) walk(in string, src, dst netip.Addr, state string) *walk {
	return &walk{conn: c, in: in, src: src, dst: dst, port: c.first.Port, state: state, luck: &luck{}}
}
