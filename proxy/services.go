package proxy

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"reflect"

	"github.com/causeway-cni/causeway/proxy/internal/iptables"
	"github.com/causeway-cni/causeway/proxy/internal/ruleset"
	"github.com/causeway-cni/causeway/proxy/service"
)

// ServiceSettings are what all services have in common. Addresses and blocks
// are of either family.
type ServiceSettings struct {
	// MasqueradeMark is the packet mark's bit for "translate the source";
	// kube-proxy's is bit 14, 0x4000.
	MasqueradeMark uint32
	// MasqueradeAll translates the source of all that goes to a cluster IP.
	MasqueradeAll bool
	// PodLink and PodBlocks tell pods from other sources: by the link that
	// their packets come in by (a final + stands for any ending), or by their
	// block, at most one of a family. Neither tells nobody.
	PodLink   string
	PodBlocks []netip.Prefix
	// NodeAddrs are this node's addresses: if a service's source ranges have
	// one of them, its balancer's addresses may come from this node.
	NodeAddrs []netip.Addr
	// NodePortAddrs are the addresses that have node ports; empty for all.
	NodePortAddrs []netip.Addr
	// LocalhostNodePorts gives 127.0.0.1 node ports, too.
	LocalhostNodePorts bool
	// DropInvalid drops what conntrack cannot place; off if the sysctl
	// nf_conntrack_tcp_be_liberal is on.
	DropInvalid bool
}

// family are the settings for one family.
func (s ServiceSettings) family(f service.Family, terse bool) ruleset.Settings {
	of := func(a netip.Addr) bool { return service.FamilyOf(a) == f }
	out := ruleset.Settings{
		Family: f, MasqueradeMark: s.MasqueradeMark, MasqueradeAll: s.MasqueradeAll,
		NodeAddrs: keep(s.NodeAddrs, of), NodePortAddrs: keep(s.NodePortAddrs, of),
		LocalhostNodePorts: s.LocalhostNodePorts && f == service.IPv4,
		DropInvalid:        s.DropInvalid, Terse: terse,
	}
	out.Pods.Link = s.PodLink
	for _, b := range s.PodBlocks {
		if of(b.Addr()) {
			out.Pods.Block = b
		}
	}
	return out
}

func keep[T any](all []T, want func(T) bool) []T {
	var kept []T
	for _, each := range all {
		if want(each) {
			kept = append(kept, each)
		}
	}
	return kept
}

// Source has the services; a service.Tracker is one.
type Source interface {
	// Services are the keys of all services.
	Services() []service.Key
	// Resolve returns the ports of a service, and what of it is refused.
	Resolve(service.Key) ([]service.ServicePort, error)
}

// ServiceSync is what SyncServices did.
type ServiceSync struct {
	// Changes is how many chains, or elements of maps, were written or deleted.
	Changes int
	// Full says that the kernel was read, and all services were gone through.
	Full bool
	// Found says which iptables the node uses, if this looked for it, and what
	// other proxies had written, most of which was removed.
	Found []string
	// Refused has, of the services gone through, what of each cannot be
	// served, and why. Everything else was written.
	Refused map[service.Key]error
}

// SyncServices makes the rules of services what the source says. It goes
// through the changed ones; the first call, one after a failure or after
// others changed rules, and one with other settings read the kernel and go
// through all.
//
// The source must know all services and slices before the first call, which
// deletes the rules of all others. The services are resolved one by one: what
// changes meanwhile belongs into the next call.
func (p *Proxy) SyncServices(ctx context.Context, from Source, changed []service.Key, s ServiceSettings) (ServiceSync, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	did := ServiceSync{Refused: map[service.Key]error{}}
	if p.mode == Off {
		return did, errors.New("services are served by another proxy in mode off")
	}
	found, err := p.begin(ctx)
	if did.Found = found; err != nil {
		return did, err
	}
	did.Full = p.writers == nil || !p.services.valid || p.tally.turned || !reflect.DeepEqual(p.settings, s)
	if !did.Full {
		p.note(from, changed)
		p.tally.turn()
		did.Full = p.tally.turned
	}
	if did.Full {
		err = p.syncAll(ctx, from, changed, s, &did)
	} else {
		err = p.write(ctx, from, changed, &did)
	}
	if err != nil || p.services.taken {
		return did, err
	}
	removed, err := p.backend.takeOverServices(ctx)
	did.Found = append(did.Found, removed...)
	if err != nil {
		return did, fmt.Errorf("taking over services: %w", err)
	}
	p.services.taken = true
	if len(removed) == 0 {
		return did, nil
	}
	// What others did meanwhile cannot be told from this: look again.
	if err := p.backend.accept(); err != nil {
		return did, err
	}
	p.nat.valid = false
	return did, p.syncAll(ctx, from, changed, s, &did)
}

// syncAll reads the kernel, and goes through all services, and through changed
// ones that are gone. They are resolved twice, for what is known of all at once
// would take more memory than all else.
func (p *Proxy) syncAll(ctx context.Context, from Source, changed []service.Key, s ServiceSettings, did *ServiceSync) error {
	keys := from.Services()
	p.note(from, keys)
	p.note(from, changed)
	p.tally.turn()
	p.writers, p.services.valid = nil, false
	writers, err := p.backend.observe(ctx, s, p.tally.terse)
	if err != nil {
		return err
	}
	p.writers, p.settings = writers, s
	return p.write(ctx, from, keys, did)
}

// write writes services.
func (p *Proxy) write(ctx context.Context, from Source, keys []service.Key, did *ServiceSync) error {
	for _, k := range keys {
		ports, err := from.Resolve(k)
		if err != nil {
			did.Refused[k] = err
		}
		for _, w := range p.writers {
			w.Set(k, ports)
		}
	}
	var failed []error
	for _, w := range p.writers {
		n, err := w.Sync(ctx)
		did.Changes += n
		var refused iptables.Refused
		if errors.As(err, &refused) {
			for port, why := range refused {
				did.Refused[port.Key] = errors.Join(did.Refused[port.Key], why)
			}
			err = nil
		}
		failed = append(failed, err)
	}
	failed = append(failed, p.backend.took())
	if err := errors.Join(failed...); err != nil {
		p.writers, p.services.valid = nil, false
		return err
	}
	p.services.valid, p.tally.turned = true, false
	p.flows.written()
	return nil
}

// TakeOverAgain has the next SyncServices look once more for what another proxy
// has left, which was there until now.
func (p *Proxy) TakeOverAgain() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.services.taken = false
}

// note notes what others need of services.
func (p *Proxy) note(from Source, keys []service.Key) {
	for _, k := range keys {
		ports, _ := from.Resolve(k) // write reports the error
		p.flows.set(k, ports)
		p.tally.set(k, ports)
	}
}
