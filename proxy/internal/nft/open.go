package nft

import (
	"context"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
	"net/netip"
	"strings"
	"time"

	"github.com/google/nftables"
	"golang.org/x/sys/unix"

	"github.com/causeway-cni/causeway/proxy/internal/ruleset"
	"github.com/causeway-cni/causeway/proxy/service"
)

// Open reads what our table holds in the network namespace of the caller, and
// changes nothing. There is one entry of settings for each family of services;
// none leaves external SNAT alone. Other tables are not read.
func Open(ctx context.Context, settings []ruleset.Settings) (*Table, error) {
	t := &Table{pending: map[service.Key][]service.ServicePort{}, stays: map[time.Duration]bool{}, fresh: true, chunk: chunk}
	for _, s := range settings {
		if err := s.Validate(); err != nil {
			return nil, fmt.Errorf("settings of services: %w", err)
		}
		t.families = append(t.families, newFamily(s))
	}
	if err := supported(); err != nil {
		return nil, err
	}
	socket, err := dial()
	if err != nil {
		return nil, err
	}
	t.socket = socket
	for range 10 { // others' transactions interrupt it
		if err = ctx.Err(); err == nil {
			err = t.read()
		}
		if !errors.Is(err, errInterrupted) && !errors.Is(err, unix.EINTR) {
			break
		}
	}
	if err != nil {
		socket.close()
		return nil, fmt.Errorf("reading nftables table %s: %w", tableName, err)
	}
	return t, nil
}

// supported says whether the kernel is new enough: reject before DNAT came with
// Linux 5.9, ranges in concatenations with 5.6, nodes of EKS have 5.10 or newer.
func supported() error {
	var name unix.Utsname
	if err := unix.Uname(&name); err != nil {
		return fmt.Errorf("asking for the version of the kernel: %w", err)
	}
	return supports(unix.ByteSliceToString(name.Release[:]))
}

func supports(release string) error {
	var major, minor int
	if _, err := fmt.Sscanf(release, "%d.%d", &major, &minor); err != nil {
		return fmt.Errorf("version of the kernel %q: want numbers, as 5.10.0", release)
	}
	if major < 5 || major == 5 && minor < 10 {
		return fmt.Errorf("kernel %s: nftables mode needs Linux 5.10 or newer; iptables mode does not", release)
	}
	return nil
}

// read finds out what the table holds.
func (t *Table) read() error {
	for i, f := range t.families {
		t.families[i] = newFamily(f.settings)
	}
	t.exists, t.whole, t.chains, t.layout, t.present = false, false, "", "", nil
	there, err := t.readSets()
	if errors.Is(err, unix.ENOENT) {
		return nil
	}
	if err != nil {
		return err
	}
	t.exists = true
	want := t.wantedSets()
	for _, s := range want {
		if !there[s.name] {
			return nil
		}
	}
	if err := t.readElements(layoutSet, func(e found) error { t.layout = e.comment; return nil }); err != nil {
		return err
	}
	sums := strings.Fields(t.layout)
	if len(sums) != 3 || sums[0] != setsSum(want) || len(there) != len(want) {
		return nil
	}
	rules, chains, err := t.readRules()
	if err != nil {
		return err
	}
	for _, f := range t.families {
		if err := f.read(t); err != nil {
			return err
		}
	}
	t.whole, t.present = true, chains
	if sums[2] == rules {
		t.chains = sums[1]
	}
	return nil
}

// readSets returns the names of sets that are not anonymous.
func (t *Table) readSets() (map[string]bool, error) {
	all := map[string]bool{}
	err := t.socket.dump(unix.NFT_MSG_GETSET, 0, func(b *batch) { b.text(unix.NFTA_SET_TABLE, tableName) }, func(a attrs) error {
		if flags := a.get(unix.NFTA_SET_FLAGS); len(flags) == 4 && binary.BigEndian.Uint32(flags)&unix.NFT_SET_ANONYMOUS != 0 {
			return nil
		}
		if text(a.get(unix.NFTA_SET_TABLE)) == tableName {
			all[text(a.get(unix.NFTA_SET_NAME))] = true
		}
		return nil
	})
	return all, err
}

// readRules returns a sum of all rules, without counters, and the chains that
// have some.
func (t *Table) readRules() (sum string, chains []string, err error) {
	h := sha256.New()
	err = t.socket.dump(unix.NFT_MSG_GETRULE, 0, func(b *batch) { b.text(unix.NFTA_RULE_TABLE, tableName) }, func(a attrs) error {
		if text(a.get(unix.NFTA_RULE_TABLE)) != tableName {
			return nil
		}
		chain := text(a.get(unix.NFTA_RULE_CHAIN))
		if len(chains) == 0 || chains[len(chains)-1] != chain {
			chains = append(chains, chain)
		}
		h.Write([]byte(chain))
		for list := attrs(a.get(unix.NFTA_RULE_EXPRESSIONS)); ; {
			_, one, ok := list.next()
			if !ok {
				break
			}
			name := text(attrs(one).get(unix.NFTA_EXPR_NAME))
			h.Write([]byte(name))
			if name != "counter" {
				h.Write(attrs(one).get(unix.NFTA_EXPR_DATA))
			}
		}
		h.Write(a.get(unix.NFTA_RULE_USERDATA))
		return nil
	})
	return hex.EncodeToString(h.Sum(nil)[:8]), chains, err
}

// found is an element that was read; its parts are valid until the next.
type found struct {
	key, end, data []byte
	comment        string
}

// readElements reads a set. The kernel may show elements twice, and miss
// others, while it makes the set's hash larger: f says errInterrupted then.
func (t *Table) readElements(set string, f func(found) error) error {
	return t.socket.dump(unix.NFT_MSG_GETSETELEM, 0, func(b *batch) {
		b.text(unix.NFTA_SET_ELEM_LIST_TABLE, tableName)
		b.text(unix.NFTA_SET_ELEM_LIST_SET, set)
	}, func(a attrs) error {
		for list := attrs(a.get(unix.NFTA_SET_ELEM_LIST_ELEMENTS)); ; {
			_, one, ok := list.next()
			if !ok {
				return nil
			}
			e, parts := found{}, attrs(one)
			for {
				kind, v, ok := parts.next()
				if !ok {
					break
				}
				switch kind {
				case unix.NFTA_SET_ELEM_KEY:
					e.key = attrs(v).get(unix.NFTA_DATA_VALUE)
				case elemKeyEnd:
					e.end = attrs(v).get(unix.NFTA_DATA_VALUE)
				case unix.NFTA_SET_ELEM_DATA:
					e.data = attrs(v).get(unix.NFTA_DATA_VALUE)
				case unix.NFTA_SET_ELEM_USERDATA:
					if len(v) > 2 && v[0] == 0 {
						e.comment = text(v[2:])
					}
				}
			}
			if err := f(e); err != nil {
				return err
			}
		}
	})
}

// read reads the elements of a family, but for the clients that affinity
// remembers.
func (f *family) read(t *Table) error {
	for set, name := range f.names {
		var err error
		switch set {
		case affinity:
			continue
		case endpoints:
			err = t.readElements(name, f.foundEndpoint)
		default:
			err = t.readElements(name, func(e found) error {
				at := place{set, string(e.key) + string(e.end)}
				if _, twice := f.have[at]; twice {
					return errInterrupted
				}
				f.have[at] = entry{content: content{string(e.data), e.comment}}
				if set == affinitySeconds {
					t.foundStay(e.key)
				}
				return nil
			})
		}
		if err != nil {
			return fmt.Errorf("%s: %w", name, err)
		}
	}
	f.referred()
	for id := range f.groups {
		f.lastID = max(f.lastID, id)
	}
	for id := f.lastID; id > 0; id-- {
		if f.groups[id] == nil {
			f.freeIDs = append(f.freeIDs, id)
		}
	}
	return nil
}

func (f *family) groupOf(id uint32) *group {
	g := f.groups[id]
	if g == nil && id != 0 && id <= uint32(groupMask) {
		g = &group{id: id}
		f.groups[id] = g
	}
	return g
}

func (f *family) foundEndpoint(e found) error {
	at, ok := endpointFrom(e.data)
	if !ok || len(e.key) != 8 {
		return nil
	}
	g, slot := f.groupOf(binary.NativeEndian.Uint32(e.key)), int(binary.NativeEndian.Uint32(e.key[4:]))
	if g == nil || slot >= maxSlots {
		return nil
	}
	if more := slot + 1 - len(g.slots); more > 0 {
		g.slots = append(g.slots, make([]netip.AddrPort, more)...)
	}
	if g.slots[slot].IsValid() {
		return errInterrupted
	}
	g.slots[slot] = at
	return nil
}

// referred notes groups that front ends lead to, and what affine endpoints are
// told apart by.
func (f *family) referred() {
	for at, e := range f.have {
		switch at.set {
		case serviceIPs, nodePorts, inside:
			if len(e.data) == 4 {
				f.groupOf(value(binary.NativeEndian.Uint32([]byte(e.data))).group())
			}
		case members:
			m := binary.NativeEndian.Uint32([]byte(at.key))
			if g, to := f.groups[m&uint32(groupMask)], e.data; g != nil {
				if ep, ok := endpointFrom([]byte(to)); ok {
					if g.numbers == nil {
						g.numbers = map[netip.AddrPort]int{}
					}
					g.numbers[ep] = int(m >> groupBits)
				}
			}
		}
	}
}

func layoutOfSet() set {
	return set{name: layoutSet, comment: "what this table was written from", key: []nftables.SetDatatype{nftables.TypeMark}}
}

// Generation is the number of the ruleset of the table's network namespace.
// Every transaction of anyone moves it on.
func (t *Table) Generation() (uint32, error) {
	b := &batch{}
	at := b.message(unix.NFT_MSG_GETGEN, 0, "")
	b.end(at)
	if err := unix.Sendto(t.socket.fd, b.buf, 0, &unix.SockaddrNetlink{Family: unix.AF_NETLINK}); err != nil {
		return 0, fmt.Errorf("asking nf_tables for the ruleset's generation: %w", err)
	}
	replies, err := t.socket.receive(t.socket.buf, 0)
	if err != nil {
		return 0, fmt.Errorf("reading the ruleset's generation: %w", err)
	}
	for _, r := range replies {
		if err := r.err(); err != nil {
			return 0, fmt.Errorf("reading the ruleset's generation: %w", err)
		}
		if len(r.data) < genLen {
			continue
		}
		if id := attrs(r.data[genLen:]).get(unix.NFTA_GEN_ID); len(id) == 4 {
			return binary.BigEndian.Uint32(id), nil
		}
	}
	return 0, errors.New("nf_tables did not tell the ruleset's generation")
}

// Remove deletes our table in the network namespace of the caller, and says
// whether it was there.
func Remove(ctx context.Context) (bool, error) {
	s, err := dial()
	if err != nil {
		return false, err
	}
	defer s.close()
	b := newBatch()
	b.deleteTable()
	err = s.commit(b)
	if err != nil && !errors.Is(err, unix.ENOENT) {
		return false, fmt.Errorf("removing nftables table %s: %w", tableName, err)
	}
	return err == nil, ctx.Err()
}
