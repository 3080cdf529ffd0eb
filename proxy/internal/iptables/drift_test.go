package iptables

import (
	"net"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/causeway-cni/causeway/proxy/service"
)

// TestDrift undoes what was written in every way that others have, and wants it
// seen by the fingerprint, and back as it was.
func TestDrift(t *testing.T) {
	tests := map[string]func(l *lab, iptables func(...string)){
		"flush nat": func(_ *lab, iptables func(...string)) { iptables("-t", "nat", "-F") },
		"flush all": func(_ *lab, iptables func(...string)) {
			for _, table := range []string{"nat", "filter", "mangle"} {
				iptables("-t", table, "-F")
				iptables("-t", table, "-X")
			}
		},
		"delete a chain": func(l *lab, iptables func(...string)) {
			chain := l.chain("KUBE-EXT-")
			iptables("-t", "nat", "-F", "KUBE-NODEPORTS")
			iptables("-t", "nat", "-D", "KUBE-SERVICES", "2") // the balancer's
			iptables("-t", "nat", "-F", chain)
			iptables("-t", "nat", "-X", chain)
		},
		"delete a rule of a chain": func(l *lab, iptables func(...string)) { iptables("-t", "nat", "-D", l.chain("KUBE-SVC-"), "1") },
		"delete a rule of all":     func(_ *lab, iptables func(...string)) { iptables("-t", "nat", "-D", "KUBE-POSTROUTING", "1") },
		"delete a jump in nat":     func(_ *lab, iptables func(...string)) { iptables("-t", "nat", "-D", "PREROUTING", "1") },
		"delete a jump in filter":  func(_ *lab, iptables func(...string)) { iptables("-t", "filter", "-D", "FORWARD", "2") },
		"a rule in place of ours": func(_ *lab, iptables func(...string)) {
			iptables("-t", "nat", "-R", "KUBE-MARK-MASQ", "1", "-j", "RETURN")
		},
		"a rule more in our chain":  func(_ *lab, iptables func(...string)) { iptables("-t", "nat", "-I", "KUBE-SERVICES", "-j", "RETURN") },
		"rules in another sequence": func(l *lab, iptables func(...string)) { l.swap(iptables) },
	}
	eachLab(t, func(t *testing.T, l *lab) {
		l.put("01", l.balanced, func(s *service.Service) { s.Affinity = time.Hour })
		want := ruleText(l.node.Run(l.backend.program + "-save"))
		port := net.JoinHostPort(l.at.node, "30080")
		for name, undo := range tests {
			before := l.fingerprint()
			undo(l, func(args ...string) { l.node.Run(append([]string{l.backend.program, "-w"}, args...)...) })
			if l.fingerprint() == before {
				t.Errorf("%s: not seen", name)
			}
			l.reopen()
			l.sync()
			if got := ruleText(l.node.Run(l.backend.program + "-save")); sorted(got) != sorted(want) {
				t.Errorf("%s: left\n%s\nwant\n%s", name, got, want)
			}
			if got := l.ask(l.client, port); !strings.HasPrefix(got, "pod") {
				t.Errorf("%s: client to node port: %s", name, got)
			}
		}
	})
}

// chain is the first chain in nat with a prefix.
func (l *lab) chain(prefix string) string {
	for line := range strings.Lines(l.node.Run(l.backend.program, "-w", "-t", "nat", "-S")) {
		if name, ok := strings.CutPrefix(strings.TrimSpace(line), "-N "); ok && strings.HasPrefix(name, prefix) {
			return name
		}
	}
	l.t.Fatalf("no chain %s", prefix)
	return ""
}

// swap moves the first rule of KUBE-POSTROUTING to the end.
func (l *lab) swap(iptables func(...string)) {
	iptables("-t", "nat", "-A", "KUBE-POSTROUTING", "-m", "mark", "!", "--mark", "0x4000/0x4000", "-j", "RETURN")
	iptables("-t", "nat", "-D", "KUBE-POSTROUTING", "1")
}

func (l *lab) fingerprint() (f Fingerprint) {
	l.t.Helper()
	l.node.Do(func() {
		var err error
		if f, err = l.backend.Fingerprint(); err != nil {
			l.t.Fatal(err)
		}
	})
	return f
}

// sorted is a text with each chain's rules in their order, but chains by name.
func sorted(text string) string {
	chains := rulesByChain(text)
	var all []string
	for name, rules := range chains {
		all = append(all, name+"\n"+strings.Join(rules, "\n"))
	}
	slices.Sort(all)
	return strings.Join(all, "\n")
}
