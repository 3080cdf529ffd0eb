package ruleset

import (
	"fmt"
	"io"
	"maps"
	"math/rand/v2"
	"net/netip"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/causeway-cni/causeway/proxy/service"
)

// kernel is a fake that keeps chains and refuses as iptables-restore does: it
// knows no chain that was not declared, deletes none that a rule leads to, and
// changes nothing of a table if one line fails.
type kernel map[string]map[string][]string // table, chain, rules

func (k kernel) restore(input string) error {
	var table string
	var chains map[string][]string
	for line := range strings.Lines(input) {
		line = strings.TrimSpace(line)
		words := strings.SplitN(line, " ", 3)
		switch {
		case line[0] == '*':
			table, chains = line[1:], maps.Clone(k[line[1:]])
			if chains == nil {
				chains = map[string][]string{}
			}
		case line[0] == ':':
			chains[words[0][1:]] = nil
		case line == "COMMIT":
			if err := jumpsLead(chains); err != nil {
				return err
			}
			k[table] = chains
		case words[0] == "-D":
			i := slices.Index(chains[words[1]], words[2])
			if i < 0 {
				return fmt.Errorf("%q: no such rule", line)
			}
			chains[words[1]] = slices.Delete(slices.Clone(chains[words[1]]), i, i+1)
		case words[0] == "-I":
			number, rule, _ := strings.Cut(words[2], " ")
			at, err := strconv.Atoi(number)
			if err != nil || at < 1 || at > len(chains[words[1]])+1 {
				return fmt.Errorf("%q: index of insertion too big", line)
			}
			chains[words[1]] = slices.Insert(slices.Clone(chains[words[1]]), at-1, rule)
		case chains == nil || !has(chains, words[1]):
			return fmt.Errorf("%q: no such chain", line)
		case words[0] == "-A":
			chains[words[1]] = append(slices.Clone(chains[words[1]]), words[2])
		case words[0] == "-X":
			delete(chains, words[1])
		default:
			return fmt.Errorf("%q: no such command", line)
		}
	}
	return nil
}

func has(chains map[string][]string, name string) bool {
	_, ok := chains[name]
	return ok
}

func jumpsLead(chains map[string][]string) error {
	for name, rules := range chains {
		for _, r := range rules {
			_, target, _ := strings.Cut(r, "-j ")
			if strings.HasPrefix(target, "KUBE-") && !has(chains, target) {
				return fmt.Errorf("%s jumps to %s, which is not there", name, target)
			}
		}
	}
	return nil
}

// input is the text of a batch.
func input(b Batch) string {
	text, err := io.ReadAll(b.Input())
	if err != nil {
		panic(err) // it reads from memory
	}
	return string(text)
}

// held is what a ledger would begin with.
func (k kernel) held(t testing.TB, s Settings) Held {
	t.Helper()
	var b strings.Builder
	for _, table := range slices.Sorted(maps.Keys(k)) {
		fmt.Fprintf(&b, "*%s\n", table)
		for c := range k[table] {
			fmt.Fprintf(&b, ":%s - [0:0]\n", c)
		}
		for c, rules := range k[table] {
			for _, r := range rules {
				fmt.Fprintf(&b, "-A %s %s\n", c, r)
			}
		}
		b.WriteString("COMMIT\n")
	}
	h, err := Hold(strings.NewReader(b.String()), s)
	if err != nil {
		t.Fatal(err)
	}
	return h
}

// chainsOf is the chains of a rule-set, in the form of the fake.
func chainsOf(rs Ruleset) kernel {
	k := kernel{}
	for _, t := range rs {
		k[t.Name] = map[string][]string{}
		for _, b := range t.Base {
			for _, r := range b.Rules {
				k[t.Name][b.Chain] = append(k[t.Name][b.Chain], r.String())
			}
		}
		for _, c := range t.Chains {
			k[t.Name][c.Name] = nil
			for _, r := range c.Rules {
				k[t.Name][c.Name] = append(k[t.Name][c.Name], r.String())
			}
		}
	}
	return k
}

// TestLedgerWalk makes random changes, some of which fail on the way to the
// kernel, restarts in between, and holds what the kernel has against what a
// fresh start would write.
func TestLedgerWalk(t *testing.T) {
	for seed := range uint64(30) {
		r := rand.New(rand.NewPCG(seed, 1))
		settings, k := lan(), kernel{}
		want := map[service.PortName]ServiceRules{}
		ledger := NewLedger(settings, k.held(t, settings))
		limit := []int{0, 1, 5}[seed%3]
		for step := range 60 {
			switch {
			case r.IntN(10) == 0: // restart, after others took a jump out
				if chain := k["filter"]["FORWARD"]; len(chain) > 0 {
					i := r.IntN(len(chain))
					k["filter"]["FORWARD"] = slices.Delete(slices.Clone(chain), i, i+1)
				}
				ledger = NewLedger(settings, k.held(t, settings))
				for name, rules := range want {
					ledger.set(name, rules, func() []Chain { return rules.Chains })
				}
			default:
				for range 1 + r.IntN(3) {
					p := randomPort(r)
					want[p.Name] = ServiceRules{}
					if r.IntN(4) > 0 {
						want[p.Name] = Compile(p, settings)
					}
					rules := want[p.Name]
					ledger.set(p.Name, rules, func() []Chain { return rules.Chains })
				}
			}
			b := ledger.Batch(limit)
			if r.IntN(8) == 0 { // it fails half way
				b.parts = b.parts[:r.IntN(len(b.parts)+1)]
				if err := k.restore(input(b)); err != nil {
					t.Fatalf("seed %d, step %d: %v in\n%s", seed, step, err, input(b))
				}
				ledger.Failed(b, k.held(t, settings))
				continue
			}
			if err := k.restore(input(b)); err != nil {
				t.Fatalf("seed %d, step %d: %v in\n%s", seed, step, err, input(b))
			}
			ledger.Done(b)
			if again := ledger.Batch(limit); !again.Empty() {
				t.Fatalf("seed %d, step %d: a second batch is not empty:\n%s", seed, step, input(again))
			}
			if diff := cmp.Diff(chainsOf(Services(settings, inOrder(want))), k, cmpopts.EquateEmpty()); diff != "" {
				t.Fatalf("seed %d, step %d (-want +kernel):\n%s", seed, step, diff)
			}
		}
	}
}

func inOrder(want map[service.PortName]ServiceRules) []ServiceRules {
	var all []ServiceRules
	for _, n := range slices.SortedFunc(maps.Keys(want), func(a, b service.PortName) int { return strings.Compare(a.String(), b.String()) }) {
		all = append(all, want[n])
	}
	return all
}

func randomPort(r *rand.Rand) service.ServicePort {
	n := byte(r.IntN(5))
	edits := [][]func(*service.Service){
		nil, {affinity}, {nodePort(30000 + int32(n))}, {nodePort(30000 + int32(n)), externalLocal}, {internalLocal},
		{balancer(fmt.Sprintf("203.0.113.%d", n), "198.51.100.0/24")},
	}
	endpoints := []string{"", "10.0.0.1*", "10.0.0.2", "10.0.0.1* 10.0.0.2", "10.0.0.2 10.0.0.3 10.0.0.4"}
	s, slices := object(n, fmt.Sprintf("svc-%d", n), endpoints[r.IntN(len(endpoints))], edits[r.IntN(len(edits))]...)
	tr := service.NewTracker()
	tr.SetNode(service.Node{Name: here})
	tr.SetService(s)
	tr.SetSlice(slices[0])
	ports, err := tr.Resolve(s.Key)
	if err != nil {
		panic(err) // the services above are right
	}
	return ports[0]
}

// TestLedgerLeavesOthers holds that chains of kubelet, of the canary and of
// users stay, and that chains of services that are gone do not.
func TestLedgerLeavesOthers(t *testing.T) {
	have, err := Hold(strings.NewReader("*nat\n:KUBE-KUBELET-CANARY - [0:0]\n:KUBE-PROXY-CANARY - [0:0]\n:MINE - [0:0]\n:KUBE-SVC-OLD - [0:0]\n:KUBE-SEP-OLD - [0:0]\n-A KUBE-SVC-OLD -j KUBE-SEP-OLD\nCOMMIT\n*filter\n:KUBE-FIREWALL - [0:0]\n-A KUBE-FIREWALL -j DROP\nCOMMIT\n"), lan())
	if err != nil {
		t.Fatal(err)
	}
	input := input(NewLedger(lan(), have).Batch(0))
	for _, chain := range []string{"CANARY", "MINE", "KUBE-FIREWALL"} {
		if strings.Contains(input, chain) {
			t.Errorf("%s is touched:\n%s", chain, input)
		}
	}
	for _, line := range []string{"-X KUBE-SVC-OLD\n", "-X KUBE-SEP-OLD\n"} {
		if !strings.Contains(input, line) {
			t.Errorf("%q is missing in\n%s", line, input)
		}
	}
}

// BenchmarkLedger is one endpoint for another among 5,000 services of 10
// endpoints: all that happens before iptables-restore.
func BenchmarkLedger(b *testing.B) {
	settings := lan()
	port := func(i, first int) service.ServicePort {
		p := service.ServicePort{
			Name: service.PortName{Key: service.Key{Namespace: "ns", Name: fmt.Sprintf("svc-%d", i)}, Port: "http", Protocol: service.TCP},
			Port: 80, Family: service.IPv4, ClusterIP: addr(fmt.Sprintf("10.100.%d.%d", i>>8, i&255)), Anywhere: true,
		}
		for e := range 10 {
			to := addr(fmt.Sprintf("10.%d.%d.%d", i>>8, i&255, first+e))
			p.Cluster = append(p.Cluster, service.Target{AddrPort: netip.AddrPortFrom(to, 8080)})
		}
		return p
	}
	l := NewLedger(settings, kernel{}.held(b, settings))
	for i := range 5000 {
		p := port(i, 0)
		l.Set(p)
	}
	l.Done(l.Batch(0))
	n := 0
	for b.Loop() {
		n++
		p := port(2500, n%2)
		l.Set(p)
		batch := l.Batch(0)
		if batch.Chains != 3 {
			b.Fatalf("%d chains", batch.Chains)
		}
		l.Done(batch)
	}
}
