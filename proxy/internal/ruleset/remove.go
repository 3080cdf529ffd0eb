package ruleset

import (
	"cmp"
	"slices"
	"strings"
)

// Removal deletes all chains of services, kube-proxy's too, and the rules that
// lead to them. It leaves what kubelet has, and chains that others lead to from
// chains of their own. The limit is that of Batch.
func Removal(have Saved, limit int) Batch {
	kubelet := have.hasKubelet()
	return removal(have, limit, nothing, func(name string) bool {
		// KUBE-FIREWALL is kubelet's, too, with the same rule in it.
		return ofServices(name) && (name != kubeFirewall || !kubelet)
	})
}

// KubeProxyRemoval deletes the chains by which kube-proxy notices that its rules
// were flushed, and its jumps beside ours. All else that it has goes on as ours.
func KubeProxyRemoval(have Saved, limit int) Batch {
	theirs := func(c SavedChain) []Line {
		jumps, _ := c.beside(kubeProxyJumps, ourJumps)
		return jumps
	}
	return removal(have, limit, theirs, func(name string) bool { return name == kubeProxyCanary })
}

// OurRemoval deletes what kube-proxy does not have, so that all else goes on as
// its own: chains of host ports, with the rules in its chains that lead to them,
// and our jumps beside its own. Where it has nothing, everything goes.
func OurRemoval(have Saved, limit int) Batch {
	if !have.HasKubeProxy() {
		return Removal(have, limit)
	}
	ours := func(c SavedChain) []Line {
		jumps, _ := c.beside(ourJumps, kubeProxyJumps)
		return jumps
	}
	return removal(have, limit, ours, func(name string) bool {
		return name == kubeHostPorts || name == probeChain || strings.HasPrefix(name, hostPortPrefix)
	})
}

func nothing(SavedChain) []Line { return nil }

// removal deletes jumps and chains.
func removal(have Saved, limit int, jumps func(SavedChain) []Line, goes func(chain string) bool) Batch {
	b := Batch{limit: limit}
	for _, t := range have {
		names := t.unwanted(goes)
		for _, c := range t.Chains {
			if goes(c.Name) || !shared(c.Name) {
				continue
			}
			gone := jumps(c)
			for _, r := range c.Rules {
				if slices.Contains(names, r.jump()) {
					gone = append(gone, r)
				}
			}
			if builtIn(c.Name) {
				b.Jumps += len(gone)
			}
			for _, r := range gone {
				p := b.part(t.Name)
				p.unsure = true
				p.rules = append(p.rules, lines{text: "-D " + c.Name + " " + r.String() + "\n"})
			}
		}
		for _, name := range names {
			p := b.part(t.Name)
			p.unsure = true
			p.chains, p.drops = append(p.chains, name), append(p.drops, name)
			b.Chains++
		}
	}
	return b
}

// unwanted are the chains that go and that no rule of others leads to; those
// that lead to others come first.
func (t SavedTable) unwanted(goes func(chain string) bool) []string {
	wanted := map[string]bool{} // by others
	for _, c := range t.Chains {
		if !goes(c.Name) && !shared(c.Name) {
			for _, r := range c.Rules {
				wanted[r.jump()] = true
			}
		}
	}
	var names []string
	for _, c := range t.Chains {
		if goes(c.Name) && !wanted[c.Name] {
			names = append(names, c.Name)
		}
	}
	last := func(name string) int { // what all lead to
		if name == kubeMarkMasq {
			return len(ownPrefixes)
		}
		return rank(name)
	}
	slices.SortFunc(names, func(a, c string) int { return cmp.Or(cmp.Compare(last(a), last(c)), cmp.Compare(a, c)) })
	return names
}

// shared are chains in which rules of ours may stand.
func shared(chain string) bool { return builtIn(chain) || ofServices(chain) }

func builtIn(chain string) bool {
	return slices.Contains([]string{"PREROUTING", "INPUT", "FORWARD", "OUTPUT", "POSTROUTING"}, chain)
}

// hasKubelet says whether kubelet has chains of its own here.
func (s Saved) hasKubelet() bool { return s.hasChain(kubeletChains...) }

// HasKubeProxy says whether kube-proxy has the chain here by which it notices
// that its rules were flushed; we have none of that name.
func (s Saved) HasKubeProxy() bool { return s.hasChain(kubeProxyCanary) }

// Serves says whether kube-proxy has written services here. Its canary comes
// before that, and chains may be ours: but it has jumps of its own beside ours.
func (s Saved) Serves() bool {
	return s.HasKubeProxy() && s.HasServices() && !s.hasOne(func(c SavedChain) bool {
		_, alone := c.beside(ourJumps, kubeProxyJumps)
		return alone
	})
}

// HasServices says whether anybody has written services here.
func (s Saved) HasServices() bool {
	return s.hasOne(func(c SavedChain) bool { return strings.HasPrefix(c.Name, "KUBE-SVC-") })
}

func (s Saved) hasOne(is func(SavedChain) bool) bool {
	return slices.ContainsFunc(s, func(t SavedTable) bool { return slices.ContainsFunc(t.Chains, is) })
}

// hasChain says whether a table has one of these chains.
func (s Saved) hasChain(names ...string) bool {
	return slices.ContainsFunc(s, func(t SavedTable) bool {
		return slices.ContainsFunc(names, func(name string) bool { return t.chain(name) != nil })
	})
}
