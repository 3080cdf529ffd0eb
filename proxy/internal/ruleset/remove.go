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
	return removal(have, limit, func(name string) bool {
		// KUBE-FIREWALL is kubelet's, too, with the same rule in it.
		return ofServices(name) && (name != kubeFirewall || !kubelet)
	})
}

// CanaryRemoval deletes the chains by which kube-proxy notices that its rules
// were flushed. All else that it has goes on as ours.
func CanaryRemoval(have Saved, limit int) Batch {
	return removal(have, limit, func(name string) bool { return name == kubeProxyCanary })
}

// HostPortRemoval deletes chains of services that kube-proxy does not have, with
// the rules in its chains that lead to them.
func HostPortRemoval(have Saved, limit int) Batch {
	return removal(have, limit, func(name string) bool {
		return name == kubeHostPorts || name == probeChain || strings.HasPrefix(name, hostPortPrefix)
	})
}

// removal deletes chains.
func removal(have Saved, limit int, goes func(chain string) bool) Batch {
	b := Batch{limit: limit}
	shared := func(chain string) bool { return builtIn(chain) || ofServices(chain) }
	for _, t := range have {
		var names []string
		wanted := map[string]bool{} // by others
		for _, c := range t.Chains {
			if !goes(c.Name) && !shared(c.Name) {
				for _, r := range c.Rules {
					wanted[r.jump()] = true
				}
			}
		}
		for _, c := range t.Chains {
			if goes(c.Name) && !wanted[c.Name] {
				names = append(names, c.Name)
			}
		}
		if len(names) == 0 {
			continue
		}
		p := b.part(t.Name)
		for _, c := range t.Chains {
			if goes(c.Name) || !shared(c.Name) {
				continue
			}
			for _, r := range c.Rules {
				if to := r.jump(); slices.Contains(names, to) {
					p.rules = append(p.rules, lines{text: "-D " + c.Name + " " + r.String() + "\n"})
				}
			}
		}
		last := func(name string) int { // what all lead to
			if name == kubeMarkMasq {
				return len(ownPrefixes)
			}
			return rank(name)
		}
		slices.SortFunc(names, func(a, c string) int { return cmp.Or(cmp.Compare(last(a), last(c)), cmp.Compare(a, c)) })
		for _, name := range names {
			p := b.part(t.Name)
			p.unsure = true
			p.chains, p.drops = append(p.chains, name), append(p.drops, name)
			b.Chains++
		}
	}
	return b
}

func builtIn(chain string) bool {
	return slices.Contains([]string{"PREROUTING", "INPUT", "FORWARD", "OUTPUT", "POSTROUTING"}, chain)
}

// hasKubelet says whether kubelet has chains of its own here.
func (s Saved) hasKubelet() bool { return s.hasChain(kubeletChains...) }

// HasKubeProxy says whether kube-proxy has the chain here by which it notices
// that its rules were flushed; we have none of that name.
func (s Saved) HasKubeProxy() bool { return s.hasChain(kubeProxyCanary) }

// Serves says whether kube-proxy has written services here.
func (s Saved) Serves() bool {
	return s.HasKubeProxy() && s.HasServices()
}

// HasServices says whether anybody has written services here.
func (s Saved) HasServices() bool {
	return slices.ContainsFunc(s, func(t SavedTable) bool {
		return slices.ContainsFunc(t.Chains, func(c SavedChain) bool { return strings.HasPrefix(c.Name, "KUBE-SVC-") })
	})
}

// hasChain says whether a table has one of these chains.
func (s Saved) hasChain(names ...string) bool {
	return slices.ContainsFunc(s, func(t SavedTable) bool {
		return slices.ContainsFunc(names, func(name string) bool { return t.chain(name) != nil })
	})
}
