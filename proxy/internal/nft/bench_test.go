package nft

import (
	"fmt"
	"net/netip"
	"runtime"
	"slices"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/causeway-cni/causeway/proxy/internal/nstest"
	"github.com/causeway-cni/causeway/proxy/internal/ruleset"
	"github.com/causeway-cni/causeway/proxy/service"
)

// load is a cluster of services with n endpoints each.
func load(services, n int) map[service.Key][]service.ServicePort {
	all := make(map[service.Key][]service.ServicePort, services)
	for i := range services {
		p := portOf(i, n)
		all[p.Name.Key] = []service.ServicePort{p}
	}
	return all
}

func portOf(i, n int) service.ServicePort {
	k := service.Key{Namespace: "default", Name: fmt.Sprintf("service-%d", i)}
	p := service.ServicePort{
		Name: service.PortName{Key: k, Port: "http", Protocol: service.TCP}, Family: service.IPv4,
		ClusterIP: netip.AddrFrom4([4]byte{10, 100, byte(i >> 8), byte(i)}), Port: 80, Anywhere: true,
	}
	for j := range n {
		p.Cluster = append(p.Cluster, endpointOf(i, j))
	}
	return p
}

func endpointOf(i, j int) service.Target {
	return service.Target{AddrPort: netip.AddrPortFrom(netip.AddrFrom4([4]byte{10, byte(j), byte(i >> 8), byte(i)}), 8080)}
}

func settings4() []ruleset.Settings {
	return []ruleset.Settings{{Family: service.IPv4, MasqueradeMark: 0x4000, Pods: ruleset.Detector{Link: "eni+"}, DropInvalid: true}}
}

func openIn(t testing.TB, n *nstest.Namespace, settings []ruleset.Settings) *Table {
	t.Helper()
	var table *Table
	n.Do(func() {
		var err error
		if table, err = Open(t.Context(), settings); err != nil {
			t.Fatal(err)
		}
	})
	t.Cleanup(func() { table.Close() })
	return table
}

func setAll(table *Table, all map[service.Key][]service.ServicePort) {
	for k, p := range all {
		table.Set(k, p)
	}
}

func mustSync(t testing.TB, table *Table) int {
	t.Helper()
	n, err := table.Sync(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	return n
}

// BenchmarkLoad writes 5,000 services with 10 endpoints each.
func BenchmarkLoad(b *testing.B) {
	all := load(5000, 10)
	for b.Loop() {
		b.StopTimer()
		n := nstest.New(b)
		b.StartTimer()
		table := openIn(b, n, settings4())
		setAll(table, all)
		mustSync(b, table)
	}
}

// BenchmarkRedo reads 5,000 services back, goes through all, and finds nothing
// to do.
func BenchmarkRedo(b *testing.B) {
	n, all := nstest.New(b), load(5000, 10)
	table := openIn(b, n, settings4())
	setAll(table, all)
	mustSync(b, table)
	for b.Loop() {
		table := openIn(b, n, settings4())
		setAll(table, all)
		if changes := mustSync(b, table); changes != 0 {
			b.Fatalf("%d changes", changes)
		}
	}
}

// BenchmarkChange makes one change at a time among 5,000 services.
func BenchmarkChange(b *testing.B) {
	n := nstest.New(b)
	table := openIn(b, n, settings4())
	setAll(table, load(5000, 10))
	mustSync(b, table)
	set := func(p service.ServicePort) { table.Set(p.Name.Key, []service.ServicePort{p}) }
	for name, change := range map[string]func(i int){
		"endpoint": func(i int) { p := portOf(7, 10); p.Cluster[3] = endpointOf(7, 20+i%2); set(p) },
		"scale":    func(i int) { set(portOf(8, 10+i%2)) },
		"new": func(i int) {
			if i%2 == 0 {
				set(portOf(6000, 10))
			} else {
				table.Set(portOf(6000, 0).Name.Key, nil)
			}
		},
	} {
		b.Run(name, func(b *testing.B) {
			i := 0
			for b.Loop() {
				change(i)
				if mustSync(b, table) == 0 && i > 0 {
					b.Fatal("nothing changed")
				}
				i++
			}
		})
	}
}

// BenchmarkMemory tells what 5,000 services cost our heap, beside the model.
func BenchmarkMemory(b *testing.B) {
	heap := func() uint64 {
		runtime.GC()
		runtime.GC()
		var m runtime.MemStats
		runtime.ReadMemStats(&m)
		return m.HeapAlloc
	}
	n, all := nstest.New(b), load(5000, 10)
	for b.Loop() {
		before := heap()
		table := openIn(b, n, settings4())
		setAll(table, all)
		mustSync(b, table)
		b.ReportMetric(float64(heap()-before)/1e6, "MB")
		runtime.KeepAlive(table)
	}
	runtime.KeepAlive(all)
}

// BenchmarkConnect opens connections straight to a pod, and through one of
// 10,000 services, by turns.
func BenchmarkConnect(b *testing.B) {
	l := newLab(b, v4)
	l.open()
	all := load(10000, 10)
	p := portOf(20000, 0)
	p.ClusterIP = netip.MustParseAddr("10.200.0.1")
	p.Cluster = []service.Target{{AddrPort: netip.MustParseAddrPort(l.at.pods[1] + ":8080"), Local: true}}
	all[p.Name.Key] = []service.ServicePort{p}
	setAll(l.table, all)
	mustSync(b, l.table)
	var took [2][]time.Duration
	l.pods[0].Run("sysctl", "-qw", "net.ipv4.ip_local_port_range=1024 65000")
	l.node.Run("sysctl", "-qw", "net.netfilter.nf_conntrack_tcp_timeout_close=1")
	targets := [2]unix.SockaddrInet4{
		{Port: 8080, Addr: netip.MustParseAddr(l.at.pods[1]).As4()}, {Port: 80, Addr: p.ClusterIP.As4()},
	}
	l.pods[0].Do(func() {
		for b.Loop() {
			for i := range targets {
				fd, err := unix.Socket(unix.AF_INET, unix.SOCK_STREAM, 0)
				if err != nil {
					b.Fatal(err)
				}
				start := time.Now()
				if err := unix.Connect(fd, &targets[i]); err != nil {
					b.Fatalf("target %d, connection %d: %v", i, len(took[i]), err)
				}
				took[i] = append(took[i], time.Since(start))
				unix.SetsockoptLinger(fd, unix.SOL_SOCKET, unix.SO_LINGER, &unix.Linger{Onoff: 1})
				unix.Close(fd)
			}
		}
	})
	median := func(all []time.Duration) float64 {
		slices.Sort(all)
		return float64(all[len(all)/2])
	}
	direct, through := median(took[0]), median(took[1])
	b.ReportMetric(direct, "ns/direct")
	b.ReportMetric(through, "ns/service")
	b.ReportMetric(through/direct, "ratio")
}
