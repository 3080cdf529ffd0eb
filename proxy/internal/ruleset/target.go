package ruleset

import (
	"fmt"
	"net/netip"

	"github.com/causeway-cni/causeway/proxy/service"
)

// Target is what a rule does: one of the types of this file.
type Target interface {
	fmt.Stringer
	target()
}

// Jump goes on in a chain of the same table, and comes back at its end.
type Jump string

// Return leaves the chain.
type Return struct{}

// SNAT translates the connection's source.
type SNAT struct {
	To        netip.Addr
	Randomize Randomize
}

// SetConnmark sets these bits in the connection's mark.
type SetConnmark uint32

// RestoreMark copies these bits from the connection's mark to the packet's.
type RestoreMark uint32

// DNAT translates the connection's destination.
type DNAT struct{ To netip.AddrPort }

// Masquerade translates the connection's source to an address of the link that
// it leaves by, with a random port (--random-fully).
type Masquerade struct{}

// SetMark sets these bits in the packet's mark.
type SetMark uint32

// FlipMark turns these bits of the packet's mark over.
type FlipMark uint32

// Accept lets the packet through the table.
type Accept struct{}

// Discard loses the packet without a word.
type Discard struct{}

// Reject answers that nobody listens at the port. For TCP, too, a client takes
// that for a refused connection.
type Reject struct{ Family service.Family }

func (Jump) target()        {}
func (Return) target()      {}
func (SNAT) target()        {}
func (SetConnmark) target() {}
func (RestoreMark) target() {}
func (DNAT) target()        {}
func (Masquerade) target()  {}
func (SetMark) target()     {}
func (FlipMark) target()    {}
func (Accept) target()      {}
func (Discard) target()     {}
func (Reject) target()      {}

func (j Jump) String() string { return string(j) }

func (Return) String() string { return "RETURN" }

func (s SNAT) String() string {
	return "SNAT --to-source " + s.To.String() + randomizeFlag[s.Randomize]
}

func (m SetConnmark) String() string {
	return fmt.Sprintf("CONNMARK --set-xmark %#x/%#x", uint32(m), uint32(m))
}

func (m RestoreMark) String() string {
	return fmt.Sprintf("CONNMARK --restore-mark --nfmask %#x --ctmask %#x", uint32(m), uint32(m))
}

func (d DNAT) String() string { return "DNAT --to-destination " + d.To.String() }

func (Masquerade) String() string { return "MASQUERADE --random-fully" }

func (m SetMark) String() string {
	return fmt.Sprintf("MARK --set-xmark %#x/%#x", uint32(m), uint32(m))
}

func (m FlipMark) String() string { return fmt.Sprintf("MARK --set-xmark %#x/0x0", uint32(m)) }

func (Accept) String() string { return "ACCEPT" }

func (Discard) String() string { return "DROP" }

func (r Reject) String() string {
	if r.Family == service.IPv6 {
		return "REJECT --reject-with icmp6-port-unreachable"
	}
	return "REJECT --reject-with icmp-port-unreachable"
}
