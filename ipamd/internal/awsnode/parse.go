package awsnode

import (
	"encoding/json"
	"fmt"
	"net/netip"
	"time"

	"github.com/causeway-cni/causeway/cni-plugin/podnet"
	"github.com/causeway-cni/causeway/ipamd/internal/pool"
)

// Parse reads a file. vethPrefix begins the names of the pods' links on the
// host. The assignments are marked as adopted: the file says neither which ENI
// an address belongs to nor where the pod's namespace is, so that the pod's
// link alone tells whether it lives. err is about the file as a whole.
func Parse(text []byte, vethPrefix string) (held []pool.Assignment, refused []*Refused, err error) {
	var file struct {
		Version     string            `json:"version"`
		Allocations []json.RawMessage `json:"allocations"`
	}
	if err := json.Unmarshal(text, &file); err != nil {
		return nil, nil, fmt.Errorf("reading aws-node's assignments: want a JSON object with version and allocations: %w", err)
	}
	if file.Version != version {
		return nil, nil, fmt.Errorf("reading aws-node's assignments: version is %q, want %q", file.Version, version)
	}
	for i, raw := range file.Allocations {
		a, bad := parseEntry(raw, vethPrefix)
		if bad != nil {
			bad.Reason = fmt.Sprintf("allocations[%d]: %s", i, bad.Reason)
			refused = append(refused, bad)
			continue
		}
		held = append(held, a)
	}
	held, doubled := once(held)
	return held, append(refused, doubled...), nil
}

func parseEntry(raw json.RawMessage, vethPrefix string) (pool.Assignment, *Refused) {
	var e entry
	decodeErr := json.Unmarshal(raw, &e)
	bad := &Refused{Address: e.address(), Container: e.Container, Pod: pool.Pod{Namespace: e.Metadata.Namespace, Name: e.Metadata.Pod}}
	if decodeErr != nil {
		bad.Reason = decodeErr.Error()
		return pool.Assignment{}, bad
	}
	for _, field := range []struct{ name, value, want string }{
		{"containerID", e.Container, "the id of a sandbox"},
		{"ifName", e.Interface, "the name of the interface inside the pod"},
		{"metadata.k8sPodNamespace", e.Metadata.Namespace, "the pod's, which gives the name of its link"},
		{"metadata.k8sPodName", e.Metadata.Pod, "the pod's, which gives the name of its link"},
	} {
		if field.value == "" {
			bad.Reason = fmt.Sprintf("%s is %q, want %s", field.name, field.value, field.want)
			return pool.Assignment{}, bad
		}
	}
	address, err := netip.ParseAddr(e.address())
	if err != nil || address.Is4() != (e.IPv6 == "") {
		bad.Reason = fmt.Sprintf("ipv4 is %q and ipv6 is %q, want an address of its family in one of them", e.IPv4, e.IPv6)
		return pool.Assignment{}, bad
	}
	return pool.Assignment{
		Key: pool.Key{Network: e.Network, ContainerID: e.Container, Interface: e.Interface}, Pod: bad.Pod,
		Link:    podnet.VethName(vethPrefix, e.Metadata.Namespace, e.Metadata.Pod),
		Address: address, Since: time.Unix(0, e.Timestamp).UTC(), Adopted: true,
	}, nil
}

// once leaves each address and each key to the youngest assignment that claims
// it.
func once(all []pool.Assignment) (held []pool.Assignment, doubled []*Refused) {
	byAddress, byKey := map[netip.Addr]int{}, map[pool.Key]int{}
	for i, a := range all {
		if j, taken := byAddress[a.Address]; !taken || !a.Since.Before(all[j].Since) {
			byAddress[a.Address] = i
		}
	}
	for i, a := range all {
		if byAddress[a.Address] != i {
			continue
		}
		if j, taken := byKey[a.Key]; !taken || !a.Since.Before(all[j].Since) {
			byKey[a.Key] = i
		}
	}
	for i, a := range all {
		winner := byAddress[a.Address]
		if winner == i {
			winner = byKey[a.Key]
		}
		if winner == i {
			held = append(held, a)
			continue
		}
		w := all[winner]
		doubled = append(doubled, &Refused{Address: a.Address.String(), Container: a.Key.ContainerID, Pod: a.Pod,
			Reason: fmt.Sprintf("container %q has %s since %s, and is younger; want each address and each container once", w.Key.ContainerID, w.Address, w.Since.Format(time.RFC3339))})
	}
	return held, doubled
}
