package iptables

import (
	"testing"
	"time"

	"github.com/causeway-cni/causeway/proxy/service"
)

// TestWatch writes services in many ways, and wants others' changes told from
// them, those between our writing and our taking note included.
func TestWatch(t *testing.T) {
	eachLab(t, func(t *testing.T, l *lab) {
		var w *Watch
		ask := func(what string, want bool) {
			t.Helper()
			l.node.Do(func() {
				if touched, err := w.Touched(); err != nil || touched != want {
					t.Errorf("%s: touched %t, %v, want %t", what, touched, err, want)
				}
			})
		}
		took := func() {
			t.Helper()
			l.node.Do(func() {
				if err := w.Took(); err != nil {
					t.Error(err)
				}
			})
		}
		iptables := func(args ...string) { l.node.Run(append([]string{l.backend.program, "-w"}, args...)...) }
		w = NewWatch(l.backend)
		ask("at first", true)
		sticky := func(s *service.Service) { l.balanced(s); s.Affinity = time.Hour }
		steps := map[string]func(){
			"first": func() { l.put("01") }, "nothing": func() { l.put("01") }, "endpoint": func() { l.put("02") },
			"balanced": func() { l.put("012", l.balanced) }, "empty": func() { l.put("", l.balanced) },
			"local": func() { l.put("12", l.externalLocal) }, "sticky": func() { l.put("01", sticky) },
			"restart": func() { l.reopen(); l.sync() },
		}
		for _, name := range []string{"first", "nothing", "endpoint", "balanced", "empty", "local", "sticky", "restart"} {
			steps[name]()
			took()
			ask(name, false)
		}
		iptables("-t", "nat", "-A", "OUTPUT", "-j", "RETURN")
		ask("another's rule", true)
		ask("again", false)

		l.put("2", l.balanced)
		iptables("-t", "nat", "-D", "OUTPUT", "-j", "RETURN")
		took()
		ask("another's rule after ours", true)
		ask("again", false)

		iptables("-t", "nat", "-F", "PREROUTING")
		l.put("12", l.balanced)
		took()
		ask("a flush before ours", true)
		l.reopen()
		l.sync()
		took()
		ask("repaired", false)
	})
}
