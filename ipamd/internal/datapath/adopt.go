package datapath

import (
	"errors"
	"fmt"
	"net/netip"
	"slices"

	"github.com/causeway-cni/causeway/config"
	"github.com/causeway-cni/causeway/ipamd/internal/pool"
	"github.com/causeway-cni/causeway/ipamd/linux"
)

// running is what the kernel shows of pods that are wired.
type running struct {
	link   map[netip.Addr]string // to which the host routes the address
	device map[netip.Addr]int    // of the ENI that the pod leaves by, if it is not the primary one
}

func (d *Datapath) running() (running, error) {
	r := running{link: map[netip.Addr]string{}, device: map[netip.Addr]int{}}
	have, err := d.kernel.Observe(linux.Scope{VethPrefix: d.settings.VethPrefix, Priorities: []int{config.RuleFromPod}})
	if err != nil {
		return r, fmt.Errorf("looking for running pods: %w", err)
	}
	for _, rule := range have.Rules {
		r.device[rule.From.Addr()] = rule.Table - 1 // the table is device + 1
	}
	for _, route := range have.Routes {
		r.link[route.Dst.Addr()] = route.Link
	}
	return r, nil
}

// ImportPods holds the addresses of pods as another agent recorded them, and
// returns how many. It belongs before AdoptPods, which knows less of a pod. An
// address that no ENI is known to have is held all the same; one whose pod is
// gone is released when Step finds no link. known are those that the book had
// already.
func (d *Datapath) ImportPods(recorded []pool.Assignment) (imported int, known []pool.Assignment, err error) {
	now, err := d.running()
	if err != nil {
		return 0, nil, err
	}
	var failed []error
	for _, a := range recorded {
		a.Device = now.device[a.Address]
		if link := now.link[a.Address]; link != "" {
			a.Link = link // whatever its name was to be
		}
		fresh, err := d.book.Import(a)
		switch {
		case err != nil:
			failed = append(failed, fmt.Errorf("importing address %s: %w", a.Address, err))
		case fresh:
			imported++
		default:
			known = append(known, a)
		}
	}
	return imported, known, errors.Join(failed...)
}

// AdoptPods holds the addresses of pods that run on this node without a record
// of ours, as another agent left them. It belongs before the first Step, which
// would remove their routes.
func (d *Datapath) AdoptPods() error {
	now, err := d.running()
	if err != nil {
		return err
	}
	held := map[netip.Addr]bool{}
	for _, a := range d.book.Assignments() {
		for _, address := range a.Addresses() {
			held[address] = true
		}
	}
	found := map[string][]netip.Addr{}
	for address, link := range now.link {
		if !held[address] {
			found[link] = append(found[link], address)
		}
	}
	for link, addresses := range found {
		for _, of := range byPod(addresses) {
			if err := d.book.Adopt(of[0], of[1], link, now.device[of[0]]); err != nil {
				return fmt.Errorf("adopting address %s of link %s: %w", of[0], link, err)
			}
			d.log.Info("adopted the address of a running pod", "address", of[0], "second", of[1], "link", link)
		}
	}
	return nil
}

// byPod takes one address of each family for a dual-stack pod's, and any others
// each for itself.
func byPod(addresses []netip.Addr) (pods [][2]netip.Addr) {
	slices.SortFunc(addresses, netip.Addr.Compare) // IPv4 first
	if len(addresses) == 2 && addresses[0].Is4() && addresses[1].Is6() {
		return [][2]netip.Addr{{addresses[0], addresses[1]}}
	}
	for _, a := range addresses {
		pods = append(pods, [2]netip.Addr{a})
	}
	return pods
}
