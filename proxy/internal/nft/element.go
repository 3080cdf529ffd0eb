package nft

import (
	"golang.org/x/sys/unix"
)

// put adds an element; data and about may be empty. Elements of one set that
// follow each other share a message. That it is there already is no error, but
// that it holds something else is: a dump may miss elements while the kernel
// makes a set's hash larger.
func (b *batch) put(table, set string, key, data []byte, about string) {
	b.entry(unix.NFT_MSG_NEWSETELEM, unix.NLM_F_CREATE, table, set, key, nil, data, about)
}

// element adds an element; of a range if it has an end.
func (b *batch) element(set string, key, end []byte, c content) {
	var data []byte
	if c.data != "" {
		data = []byte(c.data)
	}
	b.entry(unix.NFT_MSG_NEWSETELEM, unix.NLM_F_CREATE, tableName, set, key, end, data, c.comment)
}

// take deletes an element.
func (b *batch) take(table, set string, key, end []byte) {
	b.entry(unix.NFT_MSG_DELSETELEM, 0, table, set, key, end, nil, "")
}

func (b *batch) entry(kind, flags uint16, table, set string, key, end, data []byte, about string) {
	if b.elems.set != set || b.elems.kind != kind || len(b.buf)-b.elems.nla > maxElements {
		what := "adding to "
		if kind == unix.NFT_MSG_DELSETELEM {
			what = "deleting from "
		}
		at := b.message(kind, flags, what+set)
		b.text(unix.NFTA_SET_ELEM_LIST_TABLE, table)
		b.text(unix.NFTA_SET_ELEM_LIST_SET, set)
		b.elems = element{set, kind, at, b.nest(unix.NFTA_SET_ELEM_LIST_ELEMENTS)}
	}
	one := b.nest(unix.NFTA_LIST_ELEM)
	b.value(unix.NFTA_SET_ELEM_KEY, key)
	if end != nil {
		b.value(elemKeyEnd, end)
	}
	if data != nil {
		b.value(unix.NFTA_SET_ELEM_DATA, data)
	}
	if about != "" {
		b.header(unix.NFTA_SET_ELEM_USERDATA, 2+min(len(about), maxComment)+1)
		b.buf = appendComment(b.buf, about)
		b.pad()
	}
	b.unnest(one)
	b.unnest(b.elems.nla)
	b.end(b.elems.message)
}

// elemKeyEnd is NFTA_SET_ELEM_KEY_END, Linux 5.6.
const elemKeyEnd = 10

func (b *batch) value(kind uint16, v []byte) {
	n := b.nest(kind)
	b.bytes(unix.NFTA_DATA_VALUE, v)
	b.unnest(n)
}

// maxComment is how much of a comment nft shows: 128 bytes with its end.
const maxComment = 127

// appendComment appends user data that nft shows as a comment.
func appendComment(buf []byte, s string) []byte {
	s = s[:min(len(s), maxComment)]
	buf = append(buf, 0, byte(len(s)+1))
	return append(append(buf, s...), 0)
}
