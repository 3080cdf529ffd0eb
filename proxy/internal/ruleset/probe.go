package ruleset

import (
	"strings"

	"github.com/causeway-cni/causeway/proxy/service"
)

// probeChain holds the rules that service-ports want in common chains while it
// is found out which of them the kernel refuses. Nothing leads to it.
const probeChain = "KUBE-PROBE"

// Probe writes these service-ports' own chains, which nothing may lead to yet,
// and tries their rules in common chains at a place of no effect. If the kernel
// refuses that, one of these is at fault.
func (l *Ledger) Probe(names []service.PortName, limit int) Batch {
	b := Batch{limit: limit, held: map[chainKey]content{}}
	b.write(l, "nat", l.settings.constant("nat")...)
	// What common rules lead to within a table need not be full.
	for _, name := range []string{kubeNodePorts, kubeHostPorts} {
		if _, there := l.held[chainKey{"nat", name}]; !there {
			b.put(l, b.part("nat"), name, "")
		}
	}
	var ports []*entry
	for _, name := range names {
		if e := l.ports[name]; e != nil {
			ports = append(ports, e)
		}
	}
	b.own(l, ports)
	for i, c := range commons() {
		p := &part{table: c.table, chains: []string{probeChain}, unsure: true}
		for _, e := range ports {
			if text := e.common[i]; text != "" {
				p.rules = append(p.rules, lines{text: strings.ReplaceAll(text, "-A "+c.name+" ", "-A "+probeChain+" ")})
			}
		}
		if len(p.rules) > 0 {
			b.parts = append(b.parts, p, &part{table: c.table, chains: []string{probeChain}, drops: []string{probeChain}})
		}
	}
	return b
}
