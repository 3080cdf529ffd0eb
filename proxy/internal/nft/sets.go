package nft

import (
	"encoding/binary"

	"github.com/google/nftables"
	"github.com/google/nftables/userdata"
	"golang.org/x/sys/unix"

	"github.com/causeway-cni/causeway/proxy/service"
)

// set is a set or a map of the table.
type set struct {
	name, comment string
	key, data     []nftables.SetDatatype
	flags         uint32
	size          uint32 // the most elements; 0 for any number
	elements      []constant
}

// constant is an element that a set is made with.
type constant struct {
	key  []byte
	goTo string // a chain; "drop" drops
}

// setEval allows rules to write a set (NFT_SET_EVAL), setConcat says that the
// parts of a range's key are compared one by one (NFT_SET_CONCAT).
const (
	setEval   = 0x20
	setConcat = 0x80
)

// affinitySize is how many clients affinity remembers; more are balanced
// without.
const affinitySize = 1 << 18

// The sets and maps of a family, in the order in which they are written.
const (
	endpoints = iota
	members
	affinitySlots
	affinitySeconds
	affinityValues
	affinity
	sourceRanges
	hairpins
	nodePortAddresses
	inside
	serviceIPs
	nodePorts
	hostPorts
	hostAddresses
	refusedIPs
	refusedPorts
	kinds
)

// names are what the sets of one family are called.
type names [kinds]string

func namesOf(f service.Family) names {
	n := names{
		"endpoints", "affinity-members", "affinity-slots", "affinity-seconds", "affinity-values", "affinity", "source-ranges", "hairpins",
		"node-port-addresses", "inside", "service-ips", "node-ports", "host-ports", "host-port-addresses", "no-endpoint-ips", "no-endpoint-ports",
	}
	if f == service.IPv6 {
		for i := range n {
			n[i] += "-ipv6"
		}
	}
	return n
}

func addressType(f service.Family) nftables.SetDatatype {
	if f == service.IPv6 {
		return nftables.TypeIP6Addr
	}
	return nftables.TypeIPAddr
}

// sets are those of one family. Their elements are the state of the cluster.
func sets(f service.Family) [kinds]set {
	n, address := namesOf(f), addressType(f)
	type types = []nftables.SetDatatype
	mark, proto, port := nftables.TypeMark, nftables.TypeInetProto, nftables.TypeInetService
	all := [kinds]set{
		serviceIPs:        {comment: "address . protocol . port -> treatment, size, group", key: types{address, proto, port}, data: types{mark}},
		nodePorts:         {comment: "protocol . port -> treatment, size, group", key: types{proto, port}, data: types{mark}},
		inside:            {comment: "group of local endpoints -> size, group for this node and its pods", key: types{mark}, data: types{mark}},
		endpoints:         {comment: "group . slot -> endpoint", key: types{mark, mark}, data: types{address, port}},
		affinity:          {comment: "group . client -> member", key: types{mark, address}, data: types{mark}, flags: unix.NFT_SET_TIMEOUT | setEval, size: affinitySize},
		affinitySeconds:   {comment: "group . how long a client stays", key: types{mark, mark}},
		affinityValues:    {comment: "group -> size, group", key: types{mark}, data: types{mark}},
		affinitySlots:     {comment: "group . slot -> member", key: types{mark, mark}, data: types{mark}},
		members:           {comment: "member -> endpoint", key: types{mark}, data: types{address, port}},
		sourceRanges:      {comment: "group . who may use its balancer's addresses", key: types{mark, address}, flags: unix.NFT_SET_INTERVAL | setConcat},
		refusedIPs:        {comment: "front ends without any endpoint", key: types{address, proto, port}},
		refusedPorts:      {comment: "node ports without any endpoint", key: types{proto, port}},
		hairpins:          {comment: "endpoints of this node, as their own clients", key: types{address, address}},
		nodePortAddresses: {comment: "where node ports are, if not everywhere", key: types{address}},
		hostPorts:         {comment: "protocol . port -> pod", key: types{proto, port}, data: types{address, port}},
		hostAddresses:     {comment: "address . protocol . port -> pod", key: types{address, proto, port}, data: types{address, port}},
	}
	for i := range all {
		all[i].name = n[i]
		if all[i].data != nil {
			all[i].flags |= unix.NFT_SET_MAP
		}
	}
	return all
}

// addSet writes a set; id is one that no other of the transaction has.
func (b *batch) addSet(table string, s set, id uint32) {
	flags := s.flags
	at := b.message(unix.NFT_MSG_NEWSET, unix.NLM_F_CREATE, "set "+s.name)
	b.text(unix.NFTA_SET_TABLE, table)
	b.text(unix.NFTA_SET_NAME, s.name)
	b.number(unix.NFTA_SET_FLAGS, flags)
	magic, size := concat(s.key)
	b.number(unix.NFTA_SET_KEY_TYPE, magic)
	b.number(unix.NFTA_SET_KEY_LEN, size)
	if len(s.data) > 0 {
		magic, size := concat(s.data)
		b.number(unix.NFTA_SET_DATA_TYPE, magic)
		b.number(unix.NFTA_SET_DATA_LEN, size)
	}
	if s.flags&unix.NFT_SET_MAP != 0 && s.data == nil {
		b.number(unix.NFTA_SET_DATA_TYPE, unix.NFT_DATA_VERDICT)
		b.number(unix.NFTA_SET_DATA_LEN, 0)
	}
	b.number(unix.NFTA_SET_ID, id)
	if s.size != 0 || s.flags&setConcat != 0 {
		desc := b.nest(unix.NFTA_SET_DESC)
		if s.size != 0 {
			b.number(unix.NFTA_SET_DESC_SIZE, s.size)
		}
		if s.flags&setConcat != 0 {
			list := b.nest(2) // NFTA_SET_DESC_CONCAT
			for _, t := range s.key {
				field := b.nest(unix.NFTA_LIST_ELEM)
				b.number(1, t.Bytes) // NFTA_SET_FIELD_LEN
				b.unnest(field)
			}
			b.unnest(list)
		}
		b.unnest(desc)
	}
	const hostOrder, networkOrder = 1, 2
	order := func(types []nftables.SetDatatype) uint32 {
		if len(types) == 1 && types[0].Name == nftables.TypeMark.Name {
			return hostOrder
		}
		return networkOrder
	}
	var about []byte
	about = userdata.AppendUint32(about, userdata.NFTNL_UDATA_SET_KEYBYTEORDER, order(s.key))
	if len(s.data) > 0 {
		about = userdata.AppendUint32(about, userdata.NFTNL_UDATA_SET_DATABYTEORDER, order(s.data))
	}
	if s.comment != "" {
		about = userdata.AppendString(about, userdata.NFTNL_UDATA_SET_COMMENT, s.comment)
	}
	b.bytes(unix.NFTA_SET_USERDATA, about)
	b.end(at)
}

// concat is the type of a concatenation and its length in a register.
func concat(types []nftables.SetDatatype) (magic, size uint32) {
	if len(types) == 1 {
		return types[0].GetNFTMagic(), types[0].Bytes
	}
	for _, t := range types {
		magic = magic<<nftables.SetConcatTypeBits | t.GetNFTMagic()
		size += align(t.Bytes)
	}
	return magic, size
}

// number32 is a number as registers hold it.
func number32(v uint32) []byte { return binary.NativeEndian.AppendUint32(nil, v) }
