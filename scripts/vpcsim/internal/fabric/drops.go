package fabric

import (
	"bytes"
	"cmp"
	"context"
	"slices"
	"strings"
)

// Reason is why the fabric dropped a packet of an ENI.
type Reason string

const (
	// SourceAddress: the packet's source is not an address of the ENI that it
	// came from. This is EC2's source/destination check.
	SourceAddress Reason = "source-address"
	// SourceMAC: the frame's source is not the ENI's MAC. EC2 checks this even
	// where the source/destination check is off.
	SourceMAC Reason = "source-mac"
	// NoPublicAddress: the packet went to the internet gateway from an address
	// that has no public address.
	NoPublicAddress Reason = "no-public-address"
)

var reasons = []Reason{SourceAddress, SourceMAC, NoPublicAddress}

// counters is the nftables map that has the reason's counter of each link.
func (r Reason) counters() string { return strings.ReplaceAll(string(r), "-", "_") }

func (c counter) name() string { return c.eni + "/" + string(c.reason) }

// Drop says how many packets of an ENI were dropped for a reason since the
// fabric was created.
type Drop struct {
	ENI     string `json:"eni"`
	Node    string `json:"node"`
	Reason  Reason `json:"reason"`
	Packets uint64 `json:"packets"`
	Bytes   uint64 `json:"bytes"`
}

// Drops lists what was dropped, without lines of zero packets; ENIs that are
// gone are still in it.
func (f *Fabric) Drops(ctx context.Context) ([]Drop, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	out, err := f.nft(ctx, Router, "", "-j", "list", "counters")
	if err != nil {
		return nil, err
	}
	counted, err := decodeCounters(bytes.NewReader(out))
	if err != nil {
		return nil, err
	}
	drops := []Drop{}
	for o := range f.have {
		c, ok := o.(counter)
		if n := counted[c.name()]; ok && n.Packets > 0 {
			drops = append(drops, Drop{c.eni, c.node, c.reason, n.Packets, n.Bytes})
		}
	}
	slices.SortFunc(drops, func(a, b Drop) int {
		return cmp.Or(cmp.Compare(a.Node, b.Node), cmp.Compare(a.ENI, b.ENI), cmp.Compare(a.Reason, b.Reason))
	})
	return drops, nil
}
