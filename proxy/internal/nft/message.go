package nft

import (
	"encoding/binary"
	"fmt"

	"github.com/google/nftables/expr"
	"golang.org/x/sys/unix"
)

// batch is one transaction, as bytes for the kernel. What each message was for
// is kept by its number, so that an error can be told in words.
type batch struct {
	buf   []byte
	about []string // of message i
	elems element  // the message that takes further elements
}

// element is where the last message of elements of one set is, which grows
// until another message follows.
type element struct {
	set          string
	kind         uint16
	message, nla int
}

// maxElements is how large a message of elements grows, in bytes: the length
// of an attribute has 16 bits.
const maxElements = 60000

const (
	headerLen = 16 // nlmsghdr
	genLen    = 4  // nfgenmsg
)

func newBatch() *batch {
	b := &batch{}
	b.raw(unix.NFNL_MSG_BATCH_BEGIN, unix.NLM_F_REQUEST, unix.AF_UNSPEC, unix.NFNL_SUBSYS_NFTABLES)
	return b
}

func (b *batch) empty() bool { return len(b.about) == 0 }

// finish ends the transaction and returns its bytes. The last change is to be
// acknowledged: that it was is known to be only by that.
func (b *batch) finish() []byte {
	b.raw(unix.NFNL_MSG_BATCH_END, unix.NLM_F_REQUEST, unix.AF_UNSPEC, unix.NFNL_SUBSYS_NFTABLES)
	at, last := 0, 0
	for next := 0; next < len(b.buf); {
		at, last = last, next
		next += int(align(binary.NativeEndian.Uint32(b.buf[next:])))
	}
	flags := binary.NativeEndian.Uint16(b.buf[at+6:])
	binary.NativeEndian.PutUint16(b.buf[at+6:], flags|unix.NLM_F_ACK)
	return b.buf
}

// append adds the messages of another batch, which has no beginning.
func (b *batch) append(o *batch) {
	b.elems = element{}
	at := len(b.buf)
	b.buf = append(b.buf, o.buf...)
	for i := range o.about {
		binary.NativeEndian.PutUint32(b.buf[at+8:], uint32(len(b.about)+i))
		at += int(align(binary.NativeEndian.Uint32(b.buf[at:])))
	}
	b.about = append(b.about, o.about...)
}

func align(n uint32) uint32 { return (n + 3) &^ 3 }

// raw begins a message and closes it; attributes may follow with end.
func (b *batch) raw(kind, flags uint16, family uint8, resource uint16) int {
	b.elems = element{}
	at := len(b.buf)
	b.buf = append(b.buf, make([]byte, headerLen+genLen)...)
	binary.NativeEndian.PutUint32(b.buf[at:], headerLen+genLen)
	binary.NativeEndian.PutUint16(b.buf[at+4:], kind)
	binary.NativeEndian.PutUint16(b.buf[at+6:], flags)
	binary.NativeEndian.PutUint32(b.buf[at+8:], uint32(len(b.about))) // sequence
	b.buf[at+headerLen] = family
	binary.BigEndian.PutUint16(b.buf[at+headerLen+2:], resource)
	return at
}

// message begins a change of nf_tables in our table's family.
func (b *batch) message(kind uint16, flags uint16, about string) int {
	at := b.raw(unix.NFNL_SUBSYS_NFTABLES<<8|kind, unix.NLM_F_REQUEST|flags, unix.NFPROTO_INET, 0)
	b.about = append(b.about, about)
	return at
}

// end closes a message that attributes were added to.
func (b *batch) end(at int) {
	binary.NativeEndian.PutUint32(b.buf[at:], uint32(len(b.buf)-at))
}

func (b *batch) header(kind uint16, size int) {
	b.buf = binary.NativeEndian.AppendUint16(b.buf, uint16(4+size))
	b.buf = binary.NativeEndian.AppendUint16(b.buf, kind)
}

func (b *batch) pad() {
	for len(b.buf)%4 != 0 {
		b.buf = append(b.buf, 0)
	}
}

func (b *batch) bytes(kind uint16, v []byte) {
	b.header(kind, len(v))
	b.buf = append(b.buf, v...)
	b.pad()
}

func (b *batch) text(kind uint16, v string) {
	b.header(kind, len(v)+1)
	b.buf = append(append(b.buf, v...), 0)
	b.pad()
}

func (b *batch) number(kind uint16, v uint32) {
	b.header(kind, 4)
	b.buf = binary.BigEndian.AppendUint32(b.buf, v)
}

// nest begins an attribute of attributes, and unnest ends it.
func (b *batch) nest(kind uint16) int {
	at := len(b.buf)
	b.header(kind|unix.NLA_F_NESTED, 0)
	return at
}

func (b *batch) unnest(at int) {
	binary.NativeEndian.PutUint16(b.buf[at:], uint16(len(b.buf)-at))
}

// expressions are those of a rule.
func (b *batch) expressions(exprs []expr.Any) error {
	list := b.nest(unix.NFTA_RULE_EXPRESSIONS)
	for _, e := range exprs {
		data, err := expr.Marshal(unix.NFPROTO_INET, e)
		if err != nil {
			return fmt.Errorf("encoding %T: %w", e, err)
		}
		b.bytes(unix.NFTA_LIST_ELEM|unix.NLA_F_NESTED, data)
	}
	b.unnest(list)
	return nil
}
