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

// Fingerprint is equal as long as nobody changed a rule. It costs a system call
// or two, no process.
type Fingerprint struct {
	generation uint32
	tables     [3]uint64
}

var seed = maphash.MakeSeed()

// Fingerprint takes the fingerprint of the rules. For nft it is the ruleset's
// generation, which every transaction moves, of whatever table. For legacy it is
// a hash of our tables without their counters; filter is one of them once the
// backend has services.
func (b *Backend) Fingerprint() (Fingerprint, error) {
	var f Fingerprint
	var err error
	if b.variant == NFT {
		f.generation, err = nft.Generation()
		return f, err
	}
	for i, table := range b.tables {
		if f.tables[i], err = layouts[b.family].hashTable(table); err != nil {
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

// hashTable hashes the entries of a legacy table.
func (l layout) hashTable(name string) (uint64, error) {
	fd, err := unix.Socket(l.family, unix.SOCK_RAW|unix.SOCK_CLOEXEC, unix.IPPROTO_RAW)
	if err != nil {
		return 0, fmt.Errorf("opening a raw socket: %w", err)
	}
	defer unix.Close(fd)
	info := make([]byte, infoSize)
	copy(info[:tableNameSize-1], name)
	if err := getsockopt(fd, l.level, optGetInfo, info); err != nil {
		return 0, err
	}
	size := binary.NativeEndian.Uint32(info[infoSize-4:])
	blob := make([]byte, entriesOffset+int(size))
	copy(blob[:tableNameSize-1], name)
	binary.NativeEndian.PutUint32(blob[tableNameSize:], size)
	// EAGAIN means that the size has changed meanwhile: so has the table.
	if err := getsockopt(fd, l.level, optGetEntries, blob); err != nil && err != unix.EAGAIN {
		return 0, err
	}
	return l.hashEntries(blob[entriesOffset:]), nil
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
