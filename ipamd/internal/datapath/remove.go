package datapath

import (
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/causeway-cni/causeway/config"
	"github.com/causeway-cni/causeway/ipamd/internal/hostnet"
	"github.com/causeway-cni/causeway/ipamd/internal/pool"
	"github.com/causeway-cni/causeway/ipamd/linux"
	"github.com/causeway-cni/causeway/ipamd/linux/kernel"
)

// Pods are the links of pods that have a network of ours, sorted.
func Pods(s Settings, handle *kernel.Handle) ([]string, error) {
	have, err := handle.Observe(linux.Scope{VethPrefix: s.VethPrefix})
	if err != nil {
		return nil, fmt.Errorf("looking for pods: %w", err)
	}
	var links []string
	for _, r := range have.Routes {
		if strings.HasPrefix(r.Link, s.VethPrefix) {
			links = append(links, r.Link)
		}
	}
	slices.Sort(links)
	return slices.Compact(links), nil
}

// Remove undoes what Step does, for a node that is given up, and deletes the
// links of pods. enis are those that the book knew last. It says what it did,
// also if it did not all.
func Remove(s Settings, enis []pool.ENI, handle *kernel.Handle) ([]string, error) {
	links, err := handle.Links()
	if err != nil {
		return nil, err
	}
	pods, err := Pods(s, handle)
	if err != nil {
		return nil, err
	}
	node := s.node(enis, links)
	have, err := handle.Observe(hostnet.Scope(node))
	if err != nil {
		return nil, fmt.Errorf("observing the node's network: %w", err)
	}
	var did []string
	var failed []error
	for _, c := range hostnet.Removal(node, have) {
		if err := handle.Apply([]linux.Change{c}, nil); err != nil {
			failed = append(failed, err)
			continue
		}
		did = append(did, fmt.Sprintf("%s %s %s", c.Op, linux.Kind(c.Item), c.Item))
	}
	for _, name := range pods {
		if err := handle.DeleteLink(name); err != nil {
			failed = append(failed, err)
			continue
		}
		did = append(did, "delete link "+name)
	}
	failed = append(failed, handle.DeleteGroup(config.DeadLinkGroup))
	return did, errors.Join(failed...)
}
