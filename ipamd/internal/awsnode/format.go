// Package awsnode reads and writes the file in which aws-node keeps its
// assignments, ipam.json, so that a node can change hands in both directions
// while its pods run.
//
// It refuses a file of another version than it knows as a whole, and an entry
// that it cannot make out alone: the entry is named with its field and its
// value, and the others count. No address and no key comes out twice. In the
// other direction it refuses an assignment that aws-node would drop.
package awsnode

import (
	"fmt"

	"github.com/causeway-cni/causeway/ipamd/internal/pool"
)

// version is the only one of the format (amazon-vpc-cni-k8s,
// pkg/ipamd/datastore, CheckpointFormatVersion).
const version = "vpc-cni-ipam/1"

// entry is one allocation as it is in the file.
type entry struct {
	Network   string   `json:"networkName"`
	Container string   `json:"containerID"`
	Interface string   `json:"ifName"`
	IPv4      string   `json:"ipv4,omitempty"`
	IPv6      string   `json:"ipv6,omitempty"`
	Timestamp int64    `json:"allocationTimestamp"` // nanoseconds since 1970
	Metadata  metadata `json:"metadata"`
}

type metadata struct {
	Namespace  string `json:"k8sPodNamespace,omitempty"`
	Pod        string `json:"k8sPodName,omitempty"`
	Interfaces int    `json:"interfacesCount,omitempty"` // network cards that the pod has an address of
}

func (e entry) address() string {
	if e.IPv4 != "" {
		return e.IPv4
	}
	return e.IPv6
}

// Refused is an entry or an assignment that was left out.
type Refused struct {
	Address   string // as it was written; "" if there is none
	Container string // sandbox id, "" if there is none
	Pod       pool.Pod
	Reason    string // which field, its value, and what would be right
}

// Error tells all of it.
func (r *Refused) Error() string {
	return fmt.Sprintf("address %q of container %q, pod %q: %s", r.Address, r.Container, r.Pod.Namespace+"/"+r.Pod.Name, r.Reason)
}
