package kernel

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/vishvananda/netlink/nl"
	"golang.org/x/sys/unix"

	"github.com/causeway-cni/causeway/ipamd/linux"
)

// Apply carries changes out in their order. What is already so is no error:
// adding what exists, deleting what is gone. The error joins one error for
// each change that failed, named by its text; the other changes are done.
//
// peer is the namespace in which the far end of a new veth is born; it may be
// nil when no change adds a link.
func (h *Handle) Apply(changes []linux.Change, peer *Handle) error {
	var failed []error
	// Later messages name links by index, so links are made first.
	links, rest := split(changes)
	failed = append(failed, h.addLinks(links, peer)...)
	index := map[string]int{}
	var requests []*nl.NetlinkRequest
	var sent []linux.Change
	for _, c := range rest {
		if s, ok := c.Item.(linux.Sysctl); ok {
			failed = append(failed, h.setSysctl(c, s)...)
			continue
		}
		req, err := h.message(c, index)
		switch {
		case err == nil:
			requests, sent = append(requests, req), append(sent, c)
		case !harmless(c, err):
			failed = append(failed, fmt.Errorf("%s: %w", c, err))
		}
	}
	failed = append(failed, h.sendChanges(requests, sent)...)
	return errors.Join(failed...)
}

func split(changes []linux.Change) (links, rest []linux.Change) {
	for _, c := range changes {
		if _, isLink := c.Item.(linux.Link); isLink && c.Op == linux.Add {
			links = append(links, c)
		} else {
			rest = append(rest, c)
		}
	}
	return links, rest
}

func (h *Handle) addLinks(changes []linux.Change, peer *Handle) []error {
	var requests []*nl.NetlinkRequest
	for _, c := range changes {
		if peer == nil || peer.ns == nil {
			return []error{fmt.Errorf("%s: no network namespace for its peer", c)}
		}
		requests = append(requests, vethMessage(c.Item.(linux.Link), int(peer.ns.Fd())))
	}
	return h.sendChanges(requests, changes)
}

func (h *Handle) sendChanges(requests []*nl.NetlinkRequest, changes []linux.Change) []error {
	results, err := h.batch.send(requests)
	if err != nil {
		return []error{err}
	}
	var failed []error
	for i, err := range results {
		if err != nil && !harmless(changes[i], err) {
			failed = append(failed, fmt.Errorf("%s: %w", changes[i], err))
		}
	}
	return failed
}

// harmless says that the world is already as the change would make it. A link
// that exists is not: it may be another pod's.
func harmless(c linux.Change, err error) bool {
	if c.Op == linux.Delete {
		return errors.Is(err, unix.ENOENT) || errors.Is(err, unix.ESRCH) || errors.Is(err, unix.ENODEV) || errors.Is(err, unix.EADDRNOTAVAIL)
	}
	_, isLink := c.Item.(linux.Link)
	return !isLink && errors.Is(err, unix.EEXIST)
}

// message turns a change into its rtnetlink request. index remembers the links
// that were looked up.
func (h *Handle) message(c linux.Change, index map[string]int) (*nl.NetlinkRequest, error) {
	switch item := c.Item.(type) {
	case linux.Link:
		i, err := h.index(item.Name, index)
		return linkSetMessage(i, item), err
	case linux.Addr:
		i, err := h.index(item.Link, index)
		if c.Op == linux.Delete {
			return addrMessage(unix.RTM_DELADDR, 0, i, item), err
		}
		return addrMessage(unix.RTM_NEWADDR, unix.NLM_F_CREATE|unix.NLM_F_REPLACE, i, item), err
	case linux.Neigh:
		i, err := h.index(item.Link, index)
		return neighMessage(i, item), err
	case linux.Route:
		i, err := h.index(item.Link, index)
		if c.Op == linux.Delete {
			return routeMessage(unix.RTM_DELROUTE, 0, i, item), err
		}
		return routeMessage(unix.RTM_NEWROUTE, unix.NLM_F_CREATE|unix.NLM_F_REPLACE, i, item), err
	case linux.Rule:
		if c.Op == linux.Delete {
			return ruleMessage(unix.RTM_DELRULE, 0, item), nil
		}
		return ruleMessage(unix.RTM_NEWRULE, unix.NLM_F_CREATE|unix.NLM_F_EXCL, item), nil
	}
	return nil, fmt.Errorf("no rtnetlink message for %T", c.Item)
}

// index is the number of a link. A link that is not there gives ENODEV.
func (h *Handle) index(name string, known map[string]int) (int, error) {
	if i, ok := known[name]; ok {
		return i, nil
	}
	i, _, err := h.batch.link(name)
	if err != nil {
		return 0, fmt.Errorf("finding link %s: %w", name, err)
	}
	known[name] = i
	return i, nil
}

func (h *Handle) setSysctl(c linux.Change, s linux.Sysctl) []error {
	if err := h.writeSysctl(s); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return []error{fmt.Errorf("%s: %w", c, err)}
	}
	return nil
}

// DeleteGroup deletes all links of a link group in one step: the kernel waits
// for its readers once for all of them, and not once for each. An empty group
// is no error.
func (h *Handle) DeleteGroup(group int) error {
	results, err := h.batch.send([]*nl.NetlinkRequest{groupDelMessage(group)})
	if err = errors.Join(append(results, err)...); err != nil && !errors.Is(err, unix.ENODEV) {
		return fmt.Errorf("deleting the links of group %d: %w", group, err)
	}
	return nil
}

// writeSysctl writes below /proc/sys.
func (h *Handle) writeSysctl(s linux.Sysctl) error {
	return h.inside(func() error {
		return os.WriteFile(filepath.Join("/", h.writable, "proc/sys", filepath.Clean("/"+s.Key)), []byte(s.Value), 0o644)
	})
}

// WriteSysctlsBelow makes the handle write sysctls below another directory that
// shows the node's /proc/sys: in a container that has no more rights than it
// needs, its own is read-only.
func (h *Handle) WriteSysctlsBelow(root string) { h.writable = root }

// Find returns the index and the hardware address of a link; its index is 0 if
// there is none. Unlike its name, an index is not given to another link.
func (h *Handle) Find(name string) (index int, mac linux.MAC, err error) {
	index, mac, err = h.batch.link(name)
	if errors.Is(err, unix.ENODEV) {
		return 0, linux.MAC{}, nil
	}
	if err != nil {
		return 0, linux.MAC{}, fmt.Errorf("finding link %s: %w", name, err)
	}
	return index, mac, nil
}

// MoveToGroup puts the link with an index into a group. A link that is gone is
// no error.
func (h *Handle) MoveToGroup(index, group int) error {
	results, err := h.batch.send([]*nl.NetlinkRequest{linkSetMessage(index, linux.Link{Group: group})})
	if err = errors.Join(append(results, err)...); err != nil && !errors.Is(err, unix.ENODEV) {
		return fmt.Errorf("moving link %d to group %d: %w", index, group, err)
	}
	return nil
}

// DeleteLink deletes a link, and with a veth its other end. The kernel takes
// some 20 ms for it. A link that is gone is no error.
func (h *Handle) DeleteLink(name string) error {
	results, err := h.batch.send([]*nl.NetlinkRequest{linkDelMessage(name)})
	if err = errors.Join(append(results, err)...); err != nil && !errors.Is(err, unix.ENODEV) {
		return fmt.Errorf("deleting link %s: %w", name, err)
	}
	return nil
}
