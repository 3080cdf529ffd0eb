package difftest

import (
	"flag"
	"fmt"
	"maps"
	"net/netip"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/rest"
	"sigs.k8s.io/yaml"

	"github.com/causeway-cni/causeway/scripts/cluster"
)

var (
	clusters = flag.Int("clusters", 10, "how many random clusters are compared")
	first    = flag.Uint64("seed", 1, "seed of the first")
)

// proxies are compared with each other, each of ours with both of theirs.
var proxies = []string{"kube-proxy iptables", "kube-proxy nftables", "causeway iptables", "causeway nftables"}

var pairs = [][2]int{{0, 1}, {0, 2}, {1, 2}, {0, 3}, {1, 3}}

// flow is a kind of connection.
type flow struct {
	service, front, protocol string
	source                   string // namespace
	from                     netip.Addr
	to                       netip.AddrPort
	affinity, ranges         bool
}

func (f flow) String() string {
	from := f.source
	if f.from.IsValid() {
		from += " " + f.from.String()
	}
	return fmt.Sprintf("%s: %s %s from %s to %s", f.service, f.protocol, f.front, from, f.to)
}

// TestProxies compares what becomes of packets.
func TestProxies(t *testing.T) {
	f := newField(t)
	covered := map[string]int{}
	for seed := *first; seed < *first+uint64(*clusters); seed++ {
		began := time.Now()
		o := randomCluster(seed)
		mark, err := o.replace(t.Context(), f.api.Client, seed)
		if err != nil {
			t.Fatalf("seed %d: %v", seed, err)
		}
		f.await(t, seed, o, mark)
		synced := time.Since(began)
		flows := o.flows()
		differences := f.compare(flows, covered)
		t.Logf("seed %d: %d services, %d kinds of connections, %d unwanted differences (%s, of which %s until all proxies followed)",
			seed, len(o.Services), len(flows), len(differences), time.Since(began).Round(time.Millisecond), synced.Round(time.Millisecond))
		for _, d := range differences {
			t.Errorf("seed %d: %s", seed, d)
		}
		if len(differences) > 0 {
			t.Logf("seed %d: the node's zone is %s\n%s", seed, o.Zone, o.yaml(differences))
		}
	}
	for _, w := range wanted {
		t.Logf("%d differences are wanted: %s: %s", covered[w.name], w.name, w.reason)
	}
}

type field struct {
	api   *cluster.API
	nodes []*node
}

func newField(t *testing.T) *field {
	t.Helper()
	tools, err := cluster.Build(t.Context(), func(s string) { t.Log(s) })
	if err != nil {
		t.Fatal(err)
	}
	rest.SetDefaultWarningHandler(rest.NoWarnings{}) // of external IPs, at every write
	dir := t.TempDir()
	ipamd := filepath.Join(dir, "ipamd")
	if out, err := exec.Command("go", "build", "-o", ipamd, "github.com/causeway-cni/causeway/ipamd").CombinedOutput(); err != nil {
		t.Fatalf("building ipamd: %v\n%s", err, out)
	}
	f := &field{}
	path := addSpace(t, prefix()+"-api")
	run(t, fmt.Sprintf("addr add %s/32 dev lo\n", apiAddress), "ip", "-n", prefix()+"-api", "-batch", "-")
	for i, proxy := range proxies {
		f.nodes = append(f.nodes, newNode(t, i, proxy))
	}
	f.api, err = cluster.StartAPI(t.Context(), tools, cluster.Options{Dir: dir, Netns: path, Addr: apiAddress, Services: serviceBlocks})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := f.api.Stop(); err != nil {
			t.Error(err)
		}
	})
	object := &corev1.Node{ObjectMeta: metav1.ObjectMeta{Name: "node", Labels: map[string]string{corev1.LabelTopologyZone: "a"}}}
	if object, err = f.api.Client.CoreV1().Nodes().Create(t.Context(), object, metav1.CreateOptions{}); err != nil {
		t.Fatal(err)
	}
	for i := range 2 {
		object.Status.Addresses = append(object.Status.Addresses, corev1.NodeAddress{Type: corev1.NodeInternalIP, Address: nodeAddrs[i][0].String()})
	}
	if _, err := f.api.Client.CoreV1().Nodes().UpdateStatus(t.Context(), object, metav1.UpdateOptions{}); err != nil {
		t.Fatal(err)
	}
	for _, n := range f.nodes {
		for i := range 2 {
			for _, target := range targets {
				for k, a := range podAddrs[i] {
					n.spaces[fmt.Sprintf("pod%d", k+1)].serve(t, netip.AddrPortFrom(a, uint16(target)))
				}
				for _, a := range remotes[i] {
					n.spaces["remote"].serve(t, netip.AddrPortFrom(a, uint16(target)))
				}
			}
		}
		n.start(t, dir, ipamd, tools, f.api.Kubeconfig)
	}
	return f
}

// await waits until every proxy has what was written.
func (f *field) await(t *testing.T, seed uint64, o *objects, mark *corev1.Service) {
	t.Helper()
	want := remotes[0][0]
	if o.Zone == "b" {
		want = remotes[0][1]
	}
	to := netip.AddrPortFrom(netip.MustParseAddr(mark.Spec.ClusterIP), 80)
	deadline := time.Now().Add(40 * time.Second)
	for _, n := range f.nodes {
		for {
			var answer string
			n.spaces["pod1"].do(func() { answer = ask("tcp", netip.Addr{}, to, 100*time.Millisecond) })
			if strings.HasPrefix(answer, want.String()+":") {
				break
			}
			if time.Now().After(deadline) {
				t.Fatalf("seed %d: %s does not follow: the marker says %q", seed, n.proxy, answer)
			}
			time.Sleep(5 * time.Millisecond)
		}
	}
}

// flows are all kinds of connections to try.
func (o *objects) flows() (all []flow) {
	for _, s := range o.Services {
		for i, p := range s.Spec.Ports {
			for front, tos := range fronts(s, p, i == 0) {
				for _, to := range tos {
					f := flow{service: s.Name, front: front, protocol: strings.ToLower(string(p.Protocol)), to: to,
						affinity: s.Spec.SessionAffinity == corev1.ServiceAffinityClientIP, ranges: len(s.Spec.LoadBalancerSourceRanges) > 0}
					family := 0
					if to.Addr().Is6() {
						family = 1
					}
					for _, source := range []string{"pod1", "node", "client", "client"} {
						f.source, f.from = source, netip.Addr{}
						if source == "client" {
							f.from = clients[family][0]
							if len(all) > 0 && all[len(all)-1].from == f.from {
								f.from = clients[family][1]
							}
						}
						all = append(all, f)
					}
				}
			}
		}
	}
	return all
}

// fronts are the front ends of a port, by their kind.
func fronts(s *corev1.Service, p corev1.ServicePort, unknown bool) map[string][]netip.AddrPort {
	all := map[string][]netip.AddrPort{}
	add := func(kind, address string, port int32) {
		all[kind] = append(all[kind], netip.AddrPortFrom(netip.MustParseAddr(address), uint16(port)))
	}
	for _, a := range s.Spec.ClusterIPs {
		add("cluster IP", a, p.Port)
		if unknown {
			add("unknown port", a, 7)
		}
	}
	for _, a := range s.Spec.ExternalIPs {
		add("external IP", a, p.Port)
	}
	for _, in := range s.Status.LoadBalancer.Ingress {
		add("balancer", in.IP, p.Port)
	}
	if p.NodePort != 0 {
		for family := range 2 {
			add("node port", nodeAddrs[family][0].String(), p.NodePort)
			add("node port elsewhere", nodeAddrs[family][1].String(), p.NodePort)
		}
	}
	return all
}

// patience is longer than TCP waits before it sends the first segment again.
const patience = 1400 * time.Millisecond

// late says whether a refusal can look like silence at first: that of TCP by
// ICMPv6 comes while the socket is busy with sending, which then only believes
// the one that answers its second segment.
func (f flow) late() bool {
	return f.protocol == "tcp" && f.to.Addr().Is6() && f.front != "unknown port"
}

// compare tries all flows at all nodes.
func (f *field) compare(flows []flow, covered map[string]int) (differences []string) {
	fates := make([][4]string, len(flows))
	f.all(flows, fates, 8, 100*time.Millisecond)
	// Endpoints are drawn by lot, and a slow machine looks like silence: what
	// differs is tried more often, and with more patience.
	for round := range 2 {
		var again []int
		for i, fl := range flows {
			if unwanted(fl, fates[i]) || round == 0 && fl.late() && slices.Contains(fates[i][:], silence) {
				again = append(again, i)
			}
		}
		some, new := make([]flow, len(again)), make([][4]string, len(again))
		for k, i := range again {
			some[k] = flows[i]
		}
		f.all(some, new, 60*(round+1), patience)
		for k, i := range again {
			fates[i] = new[k]
		}
	}
	for i, fl := range flows {
		for _, p := range pairs {
			covered[differs(fl, fates[i], p)]++
		}
		if !unwanted(fl, fates[i]) {
			continue
		}
		var b strings.Builder
		fmt.Fprint(&b, fl)
		for k, proxy := range proxies {
			fmt.Fprintf(&b, "\n\t%s: %s", proxy, fates[i][k])
		}
		differences = append(differences, b.String())
	}
	return differences
}

// unwanted says whether a pair differs in a way that is not wanted.
func unwanted(fl flow, fates [4]string) bool {
	return slices.ContainsFunc(pairs, func(p [2]int) bool { return differs(fl, fates, p) == "" })
}

// differs is "same", the name of a wanted difference, or nothing for one that
// is not.
func differs(fl flow, fates [4]string, pair [2]int) string {
	a, b := outcome{proxies[pair[0]], fates[pair[0]]}, outcome{proxies[pair[1]], fates[pair[1]]}
	if a.fate == b.fate {
		return "same"
	}
	return wantedBy(fl, a, b)
}

// all tries flows at all nodes at once.
func (f *field) all(flows []flow, fates [][4]string, times int, timeout time.Duration) {
	var all sync.WaitGroup
	for i, fl := range flows {
		for k, n := range f.nodes {
			all.Add(1)
			n.spaces[fl.source].jobs <- func() {
				defer all.Done()
				fates[i][k] = fate(fl, times, timeout)
			}
		}
	}
	all.Wait()
}

// fate is what becomes of a flow, from the thread's namespace.
func fate(f flow, times int, timeout time.Duration) string {
	answers := map[string]bool{}
	for i := range times {
		answer := ask(f.protocol, f.from, f.to, timeout)
		answers[answer] = true
		if !strings.Contains(answer, "<-") && (i > 0 || timeout == patience) {
			break
		}
	}
	if len(answers) > 1 && timeout < patience {
		delete(answers, silence) // it was only slow
	}
	if f.affinity && len(answers) == 1 {
		for answer := range answers {
			if strings.Contains(answer, "<-") {
				return "one endpoint" // which of them is a matter of lot
			}
		}
	}
	return strings.Join(slices.Sorted(maps.Keys(answers)), ", ")
}

// yaml shows the objects of services that differ.
func (o *objects) yaml(differences []string) string {
	var b strings.Builder
	show := func(x any) {
		text, err := yaml.Marshal(x)
		if err != nil {
			text = []byte(err.Error())
		}
		fmt.Fprintf(&b, "---\n%s", text)
	}
	for _, s := range o.Services {
		if !slices.ContainsFunc(differences, func(d string) bool { return strings.HasPrefix(d, s.Name+":") }) {
			continue
		}
		s.ManagedFields = nil
		show(s)
		for _, e := range o.Slices {
			if strings.HasPrefix(e.Name, s.Name+"-") {
				show(e)
			}
		}
	}
	return b.String()
}
