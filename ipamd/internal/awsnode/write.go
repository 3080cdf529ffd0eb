package awsnode

import (
	"bytes"
	"encoding/json"
	"fmt"
	"strings"

	"github.com/causeway-cni/causeway/cni-plugin/podnet"
	"github.com/causeway-cni/causeway/ipamd/internal/pool"
)

// Format writes assignments as aws-node would have. written is how many there
// are in the text; those in refused are not, since aws-node would drop them at
// its start and hand their addresses out again.
func Format(held []pool.Assignment) (text []byte, written int, refused []*Refused, err error) {
	entries := []entry{} // never null
	for _, a := range held {
		if reason := unknowable(a); reason != "" {
			refused = append(refused, &Refused{Address: a.Address.String(), Container: a.Key.ContainerID, Pod: a.Pod, Reason: reason})
			continue
		}
		e := entry{
			Network: a.Key.Network, Container: a.Key.ContainerID, Interface: a.Key.Interface, Timestamp: a.Since.UnixNano(),
			Metadata: metadata{Namespace: a.Pod.Namespace, Pod: a.Pod.Name, Interfaces: 1},
		}
		if e.IPv4 = a.Address.String(); a.Address.Is6() {
			e.IPv4, e.IPv6 = "", e.IPv4
		}
		entries = append(entries, e)
	}
	var out bytes.Buffer
	encoder := json.NewEncoder(&out)
	encoder.SetEscapeHTML(false)
	err = encoder.Encode(struct {
		Version     string  `json:"version"`
		Allocations []entry `json:"allocations"`
	}{version, entries})
	if err != nil {
		return nil, 0, nil, fmt.Errorf("writing aws-node's assignments: %w", err)
	}
	return out.Bytes(), len(entries), refused, nil
}

// unknowable says why aws-node could not keep an assignment, "" if it can. It
// looks for the link that the pod's name gives.
func unknowable(a pool.Assignment) string {
	switch {
	case a.Second.IsValid():
		return "the pod has " + a.Second.String() + ", too, and aws-node keeps one address of a pod"
	case a.Pod.Namespace == "" || a.Pod.Name == "":
		return "it is not known whose address it is, on link " + a.Link + "; aws-node wants the pod's namespace and name"
	case !strings.HasSuffix(a.Link, podnet.VethName("", a.Pod.Namespace, a.Pod.Name)):
		return fmt.Sprintf("its link is %q; aws-node would look for the one of the pod's first interface", a.Link)
	}
	return ""
}
