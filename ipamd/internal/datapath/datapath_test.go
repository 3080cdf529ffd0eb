package datapath

import (
	"net/netip"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/causeway-cni/causeway/config"
	"github.com/causeway-cni/causeway/ipamd/internal/pool"
)

const (
	rules = `0:	from all lookup local
512:	from all to 10.0.0.20 lookup main
512:	from all to 10.0.0.30 lookup main
1024:	from all fwmark 0x80/0x80 lookup main
1535:	from all to 203.0.113.0/24 lookup main
1536:	from 10.0.0.30 lookup 2
32766:	from all lookup main
32767:	from all lookup default
`
	mainRoutes = `default via 10.0.0.1 dev eth0 
10.0.0.0/24 dev eth0 proto kernel scope link src 10.0.0.5 
10.0.0.20 dev enia scope link 
10.0.0.30 dev enib scope link 
`
	table2 = `default via 10.0.0.1 dev eth1 
10.0.0.1 dev eth1 scope link 
`
)

// twoENIs is a node with a pod on each of two ENIs, a third ENI whose device
// has not appeared, and a pod whose link is not made yet.
func twoENIs(t *testing.T, w *world) {
	t.Helper()
	w.device("eth0", 0)
	ip(t, "addr", "add", "10.0.0.5/24", "dev", "eth0")
	ip(t, "route", "add", "default", "via", "10.0.0.1")
	w.device("eth1", 1)
	w.book.enis = []pool.ENI{eni(0), eni(1), eni(2)}
	w.pod("a", "10.0.0.20", 0)
	w.pod("b", "10.0.0.30", 1)
	w.book.held = append(w.book.held, assignment("c", "10.0.0.40", 1))
	w.step()
}

func (w *world) inPlace() {
	w.t.Helper()
	for _, c := range []struct {
		want string
		args []string
	}{{rules, []string{"rule"}}, {mainRoutes, []string{"route"}}, {table2, []string{"route", "show", "table", "2"}}} {
		if diff := cmp.Diff(lines(c.want), lines(ip(w.t, c.args...))); diff != "" {
			w.t.Errorf("ip %s (-want +got):\n%s", strings.Join(c.args, " "), diff)
		}
	}
}

// lines are sorted: rules of one priority have no order that matters.
func lines(text string) []string { return slices.Sorted(strings.Lines(text)) }

func TestStep(t *testing.T) {
	inNode(t, func(t *testing.T, w *world) {
		twoENIs(t, w)
		w.inPlace()
		for _, link := range []string{"eth0", "eth1"} {
			if got := ip(t, "link", "show", link); !strings.Contains(got, "mtu 9001") || !strings.Contains(got, ",UP") {
				t.Errorf("ip link show %s: %s", link, got)
			}
			if got := sysctl(t, "net/ipv4/conf/"+link+"/rp_filter"); got != "2" {
				t.Errorf("rp_filter of %s is %s", link, got)
			}
		}
		if got := sysctl(t, "net/ipv4/ip_forward"); got != "1" {
			t.Errorf("ip_forward is %s", got)
		}
		if diff := cmp.Diff(map[pool.ENIID]bool{"eni-0": true, "eni-1": true}, w.book.ready); diff != "" {
			t.Errorf("ready (-want +got):\n%s", diff)
		}
		if changes := w.step(); len(changes) > 0 {
			t.Errorf("a second step: %v", changes)
		}
	})
}

func sysctl(t *testing.T, key string) string {
	t.Helper()
	text, err := os.ReadFile("/proc/sys/" + key)
	if err != nil {
		t.Fatal(err)
	}
	return strings.TrimSpace(string(text))
}

// A device and a pod's link that come later are configured by the next step.
func TestWhatComesLater(t *testing.T) {
	inNode(t, func(t *testing.T, w *world) {
		twoENIs(t, w)
		w.device("eth2", 2)
		w.link("enic")
		w.step()
		if !w.book.ready["eni-2"] {
			t.Errorf("ready: %v", w.book.ready)
		}
		if got, want := ip(t, "route", "show", "table", "3"), strings.ReplaceAll(table2, "eth1", "eth2"); got != want {
			t.Errorf("table 3: %s", got)
		}
		if got := ip(t, "rule"); !strings.Contains(got, "512:\tfrom all to 10.0.0.40 lookup main\n") || !strings.Contains(got, "1536:\tfrom 10.0.0.40 lookup 2\n") {
			t.Errorf("the later pod's rules: %s", got)
		}
		ip(t, "link", "del", "eth2")
		w.step()
		if w.book.ready["eni-2"] {
			t.Error("an ENI without its device is ready")
		}
		// A pod that is released leaves nothing.
		w.book.held = slices.DeleteFunc(w.book.held, func(a pool.Assignment) bool { return a.Link == "enic" })
		w.step()
		w.inPlace()
	})
}

func TestWhatIsDamagedComesBack(t *testing.T) {
	inNode(t, func(t *testing.T, w *world) {
		twoENIs(t, w)
		for _, damage := range []string{
			"rule del priority 512 to 10.0.0.20",
			"rule del priority 512 to 10.0.0.30",
			"rule del priority 1024",
			"rule del priority 1535",
			"rule del priority 1536",
			"route del 10.0.0.20",
			"route del 10.0.0.30",
			"route flush table 2",
			"route del default table 2",
			"route add 10.9.0.0/16 via 10.0.0.1 dev eth1 table 2",
			"route add 10.0.0.99 dev enia",
			"rule add priority 512 to 10.0.0.99 lookup main",
			"rule add priority 1535 to 192.0.2.0/24 lookup main",
			"rule add priority 1536 from 10.0.0.20 lookup 2",
			"rule add priority 1536 from 10.0.0.30 lookup 3",
			"link set eth1 down",
			"link set enib down",
			"link set eth1 mtu 1500",
		} {
			ip(t, strings.Fields(damage)...)
			if changes := w.step(); len(changes) == 0 {
				t.Errorf("ip %s was not noticed", damage)
			}
			w.step() // a link that came up has its routes by now
			w.inPlace()
			if changes := w.step(); len(changes) > 0 {
				t.Errorf("after ip %s, the step after the repair: %v", damage, changes)
			}
		}
		if err := os.WriteFile("/proc/sys/net/ipv4/conf/eth1/rp_filter", []byte("1"), 0); err != nil {
			t.Fatal(err)
		}
		w.step()
		if got := sysctl(t, "net/ipv4/conf/eth1/rp_filter"); got != "2" {
			t.Errorf("rp_filter is %s after a repair", got)
		}
	})
}

// What others made is not ours to change.
func TestWhatOthersMadeStays(t *testing.T) {
	inNode(t, func(t *testing.T, w *world) {
		w.device("other0", 9)
		ip(t, "link", "set", "other0", "up")
		made := [][]string{
			{"rule", "add", "priority", "100", "to", "10.0.0.20", "lookup", "77"},
			{"rule", "add", "priority", "1000", "from", "10.0.0.30", "lookup", "main"},
			{"rule", "add", "priority", "20000", "lookup", "77"},
			{"route", "add", "10.7.0.0/16", "dev", "other0"},
			{"route", "add", "10.8.0.1", "dev", "other0"},
			{"route", "add", "10.8.0.0/16", "dev", "other0", "table", "77"},
			{"addr", "add", "10.6.0.1/24", "dev", "other0"},
		}
		for _, args := range made {
			ip(t, args...)
		}
		twoENIs(t, w)
		w.step()
		for _, args := range made[:3] {
			if got := ip(t, "rule"); !strings.Contains(got, args[3]+":\t") {
				t.Errorf("ip %v is gone: %s", args, got)
			}
		}
		want := mainRoutes + "10.6.0.0/24 dev other0 proto kernel scope link src 10.6.0.1 \n10.7.0.0/16 dev other0 scope link \n10.8.0.1 dev other0 scope link \n"
		if diff := cmp.Diff(want, ip(t, "route")); diff != "" {
			t.Errorf("ip route (-want +got):\n%s", diff)
		}
		if got := ip(t, "route", "show", "table", "77"); got != "10.8.0.0/16 dev other0 scope link \n" {
			t.Errorf("table 77: %s", got)
		}
	})
}

// An operating system that configures a secondary ENI draws the subnet's
// traffic away from the primary one.
func TestConnectedRouteOfASecondaryENIGoes(t *testing.T) {
	inNode(t, func(t *testing.T, w *world) {
		twoENIs(t, w)
		ip(t, "addr", "add", "10.0.0.6/24", "dev", "eth1")
		if got := ip(t, "route"); !strings.Contains(got, "10.0.0.0/24 dev eth1") {
			t.Fatalf("the kernel made no connected route: %s", got)
		}
		w.step()
		w.inPlace()
	})
}

func TestAdoptPods(t *testing.T) {
	inNode(t, func(t *testing.T, w *world) {
		twoENIs(t, w)
		b := w.book.held[1]
		w.book.held = w.book.held[:1] // the record of b is lost
		if err := w.path.AdoptPods(); err != nil {
			t.Fatal(err)
		}
		want := pool.Assignment{Key: pool.Key{ContainerID: "adopted"}, Address: b.Address, Link: b.Link, Device: 1, Adopted: true}
		if diff := cmp.Diff([]pool.Assignment{want}, w.book.held[1:], cmp.Comparer(func(x, y netip.Addr) bool { return x == y })); diff != "" {
			t.Errorf("adopted (-want +got):\n%s", diff)
		}
		if changes := w.step(); len(changes) > 0 {
			t.Errorf("changes for a pod that runs: %v", changes)
		}
		w.inPlace()
		ip(t, "link", "del", "enib")
		w.step()
		if len(w.book.held) != 1 {
			t.Errorf("held after its link is gone: %v", w.book.held[1:])
		}
		if got := ip(t, "rule"); strings.Contains(got, "10.0.0.30") {
			t.Errorf("rules of a pod that is gone: %s", got)
		}
	})
}

// Pods that another agent recorded keep their routes, wherever the record is
// wrong or silent; one that is gone is released.
func TestImportPods(t *testing.T) {
	inNode(t, func(t *testing.T, w *world) {
		twoENIs(t, w)
		a, b := w.book.held[0], w.book.held[1]
		w.book.held = w.book.held[:1]
		recorded := b
		recorded.Link, recorded.ENI, recorded.Device, recorded.MTU, recorded.Adopted = "eniothername", "", 0, 0, true
		gone := assignment("gone", "10.0.0.31", 0)
		gone.Adopted = true
		n, known, err := w.path.ImportPods([]pool.Assignment{a, recorded, gone})
		if err != nil || n != 2 || len(known) != 1 || known[0].Address != a.Address {
			t.Errorf("imported %d, known %v, error %v", n, known, err)
		}
		if err := w.path.AdoptPods(); err != nil {
			t.Fatal(err)
		}
		if len(w.book.held) != 3 {
			t.Errorf("held: %v", w.book.held)
		}
		if got := w.book.held[1]; got.Key != b.Key || got.Link != b.Link || got.Device != b.Device {
			t.Errorf("imported %+v, want the link and the device of %+v", got, b)
		}
		if changes := w.step(); len(changes) > 0 {
			t.Errorf("changes for pods that run: %v", changes)
		}
		w.inPlace()
		if len(w.book.held) != 2 {
			t.Errorf("held, one of them without a link: %v", w.book.held)
		}
	})
}

// A deleted pod's link goes with its namespace; one that stays is deleted
// after a grace, and only then.
func TestDeadLinksAreBuried(t *testing.T) {
	inNode(t, func(t *testing.T, w *world) {
		twoENIs(t, w)
		index, _, err := w.kernel.Find("enib")
		if err != nil {
			t.Fatal(err)
		}
		if err := w.kernel.MoveToGroup(index, config.DeadLinkGroup); err != nil {
			t.Fatal(err)
		}
		exists := func() bool { return strings.Contains(ip(t, "link"), "enib") }
		w.step()
		if got := ip(t, "rule"); strings.Contains(got, "10.0.0.30") {
			t.Errorf("a dead pod has rules: %s", got)
		}
		w.now = w.now.Add(graceOfDead - time.Millisecond)
		w.step()
		if !exists() {
			t.Error("deleted before the grace is over")
		}
		w.now = w.now.Add(time.Millisecond)
		w.step()
		if exists() {
			t.Error("not deleted after the grace")
		}
		if !strings.Contains(ip(t, "link"), "enia") {
			t.Error("the link of a living pod is gone")
		}
		if len(w.path.dead) != 1 {
			t.Errorf("dead: %v", w.path.dead)
		}
		w.step()
		if len(w.path.dead) != 0 {
			t.Errorf("remembered: %v", w.path.dead)
		}
	})
}

// What others attached for themselves, and ENIs of further network cards, are
// left as they are.
func TestENIsOfOthersAreLeftAlone(t *testing.T) {
	for name, change := range map[string]func(*pool.ENI){
		"unmanaged":    func(e *pool.ENI) { e.Managed = false },
		"another card": func(e *pool.ENI) { e.Card, e.Device = 1, 0 },
	} {
		t.Run(name, func(t *testing.T) {
			inNode(t, func(t *testing.T, w *world) {
				twoENIs(t, w)
				w.device("eth2", 2)
				ip(t, "addr", "add", "10.0.0.99/24", "dev", "eth2")
				ip(t, "link", "set", "eth2", "up", "mtu", "1500")
				ip(t, "route", "add", "default", "via", "10.0.0.1", "dev", "eth2", "table", "3")
				look := func() string {
					return ip(t, "route") + ip(t, "route", "show", "table", "3") + ip(t, "rule") + ip(t, "-o", "link", "show", "eth2") + sysctl(t, "net/ipv4/conf/eth2/rp_filter")
				}
				theirs := eni(2)
				change(&theirs)
				w.book.enis = []pool.ENI{eni(0), eni(1), theirs}
				before := look()
				w.step()
				if diff := cmp.Diff(before, look()); diff != "" {
					t.Errorf("(-before +after):\n%s", diff)
				}
				if w.book.ready["eni-2"] {
					t.Error("it is to carry pods")
				}
			})
		})
	}
}

// A setting that cannot be made keeps no ENI from carrying pods, nor what else
// a step does.
func TestOneFailureKeepsNothingElse(t *testing.T) {
	inNode(t, func(t *testing.T, w *world) {
		twoENIs(t, w)
		w.book.held[0].MTU = 70000 // no veth takes it
		w.book.ready = nil
		if err := w.path.Step(t.Context()); err == nil || !strings.Contains(err.Error(), "mtu 70000") {
			t.Errorf("got %v", err)
		}
		if diff := cmp.Diff(map[pool.ENIID]bool{"eni-0": true, "eni-1": true}, w.book.ready); diff != "" {
			t.Errorf("ready (-want +got):\n%s", diff)
		}
	})
}
