package iptables

import (
	"encoding/binary"
	"fmt"
	"hash/maphash"
	"unsafe"

	"golang.org/x/sys/unix"

	"github.com/causeway-cni/causeway/proxy/internal/nft"
	"github.com/causeway-cni/causeway/proxy/service"
)

// Fingerprint is equal as long as nobody changed a rule; it can be compared with
// ==. It costs a system call or two for a table, no process.
//
// A legacy table of over hashedSize is told by what the kernel says of it as a
// whole: its size, its number of entries, and where its built-in chains are.
// That misses a rule for which another of the same size was put in its place;
// but copying 55 MB every few seconds, which 5,000 services have, is no price
// for that.
type Fingerprint struct {
	generation uint32
	tables     [3]tablePrint
}

// tablePrint tells a legacy table: what the kernel says of it, and a hash of its
// entries or 0.
type tablePrint struct {
	info [infoSize]byte
	hash uint64
}

const hashedSize = 2 << 20

var seed = maphash.MakeSeed()

// Fingerprint takes the fingerprint of the rules. For nft it is the ruleset's
// generation, which every transaction moves, of whatever table. For legacy it is
// of our tables, without counters; filter is one of them once the backend has
// services.
func (b *Backend) Fingerprint() (Fingerprint, error) {
	var f Fingerprint
	var err error
	if b.variant == NFT {
		f.generation, err = nft.Generation()
		return f, err
	}
	layout := layouts[b.family]
	fd, err := unix.Socket(layout.family, unix.SOCK_RAW|unix.SOCK_CLOEXEC, unix.IPPROTO_RAW)
	if err != nil {
		return f, fmt.Errorf("opening a raw socket: %w", err)
	}
	defer unix.Close(fd)
	for i, table := range b.tables {
		if f.tables[i], err = layout.print(fd, table); err != nil {
			return Fingerprint{}, fmt.Errorf("reading table %s: %w", table, err)
		}
	}
	return f, nil
}

// Socket options and layouts that both families share, from
// linux/netfilter_ipv4/ip_tables.h and linux/netfilter_ipv6/ip6_tables.h.
const (
	optGetInfo    = 64 // IPT_SO_GET_INFO, IP6T_SO_GET_INFO
	optGetEntries = 65 // IPT_SO_GET_ENTRIES, IP6T_SO_GET_ENTRIES

	tableNameSize = 32
	infoSize      = 84 // struct ipt_getinfo; its last word is the size of the entries
	entriesOffset = 40 // of entrytable in struct ipt_get_entries
)

// layout is where the fields of struct ipt_entry or ip6t_entry are. Between
// comefrom and matches are bookkeeping of the kernel and counters.
type layout struct {
	family, level           int
	next, comefrom, matches int
}

var layouts = map[service.Family]layout{
	service.IPv4: {unix.AF_INET, unix.IPPROTO_IP, 90, 92, 112},
	service.IPv6: {unix.AF_INET6, unix.IPPROTO_IPV6, 142, 144, 168},
}

// print tells a legacy table.
func (l layout) print(fd int, table string) (tablePrint, error) {
	var p tablePrint
	copy(p.info[:tableNameSize-1], table)
	if err := getsockopt(fd, l.level, optGetInfo, p.info[:]); err != nil {
		return p, err
	}
	size := binary.NativeEndian.Uint32(p.info[infoSize-4:])
	if size > hashedSize {
		return p, nil
	}
	blob := make([]byte, entriesOffset+int(size))
	copy(blob[:tableNameSize-1], table)
	binary.NativeEndian.PutUint32(blob[tableNameSize:], size)
	// EAGAIN means that the size has changed meanwhile: so has the table.
	if err := getsockopt(fd, l.level, optGetEntries, blob); err != nil && err != unix.EAGAIN {
		return p, err
	}
	p.hash = l.hashEntries(blob[entriesOffset:])
	return p, nil
}

// hashEntries leaves out what moves without a change of rules.
func (l layout) hashEntries(entries []byte) uint64 {
	var h maphash.Hash
	h.SetSeed(seed)
	for len(entries) >= l.matches {
		next := int(binary.NativeEndian.Uint16(entries[l.next:]))
		if next < l.matches || next > len(entries) {
			break
		}
		h.Write(entries[:l.comefrom])
		h.Write(entries[l.matches:next])
		entries = entries[next:]
	}
	return h.Sum64()
}

func getsockopt(fd, level, option int, value []byte) error {
	size := uint32(len(value))
	_, _, errno := unix.Syscall6(unix.SYS_GETSOCKOPT, uintptr(fd), uintptr(level), uintptr(option),
		uintptr(unsafe.Pointer(&value[0])), uintptr(unsafe.Pointer(&size)), 0)
	if errno != 0 {
		return errno
	}
	return nil
}
