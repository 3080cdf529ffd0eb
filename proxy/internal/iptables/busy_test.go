package iptables

import (
	"context"
	"os/exec"
	"path/filepath"
	"slices"
	"testing"

	"github.com/causeway-cni/causeway/proxy/service"
)

// TestBusyNode writes services while another program changes the same tables
// all the time, and wants everything there, once.
func TestBusyNode(t *testing.T) {
	t.Setenv("XTABLES_LOCKFILE", filepath.Join(t.TempDir(), "lock"))
	eachLab(t, func(t *testing.T, l *lab) {
		ctx, cancel := context.WithCancel(t.Context())
		ended := make(chan struct{})
		go func() {
			defer close(ended)
			for ctx.Err() == nil {
				for _, command := range []string{"-A", "-D"} {
					exec.Command("ip", "netns", "exec", l.node.Name, l.backend.program, "-w", "-t", "nat", command, "POSTROUTING", "-j", "RETURN").Run()
				}
			}
		}()
		for turn := range 8 {
			l.reopen()
			l.put([]string{"0", "12", "", "012"}[turn%4], l.balanced)
			for i := range 60 {
				p := benchPort(i, turn)
				p.Family = service.IPv4 // ignored by the other
				l.services.Set(p.Name.Key, []service.ServicePort{p}[turn%2:])
			}
			l.sync()
		}
		cancel()
		<-ended
		got := rulesByChain(l.node.Run(l.backend.program + "-save"))
		l.reopen()
		if n := l.sync(); n != 0 {
			t.Errorf("%d chains are not as they should be", n)
		}
		for chain, rules := range got {
			if distinct := slices.Compact(slices.Sorted(slices.Values(rules))); len(distinct) != len(rules) {
				t.Errorf("%s has a rule twice: %q", chain, rules)
			}
		}
	})
}
