package fabric

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/causeway-cni/causeway/scripts/vpcsim/internal/echo"
	"github.com/causeway-cni/causeway/scripts/vpcsim/internal/vpc"
)

// The VPC of the tests: two nodes in two subnets; eni-a1 is a's second ENI.
func testView() vpc.View {
	return vpc.View{
		CIDRs:     []netip.Prefix{netip.MustParsePrefix("10.0.0.0/16"), netip.MustParsePrefix("2600:1f14:1::/56")},
		PeerCIDRs: []netip.Prefix{netip.MustParsePrefix("172.31.0.0/16")},
		Subnets: []vpc.SubnetView{
			{Name: "a", ID: "subnet-a", CIDR: netip.MustParsePrefix("10.0.0.0/24"), IPv6CIDR: netip.MustParsePrefix("2600:1f14:1:1::/64"), Egress: vpc.EgressIGW},
			{Name: "b", ID: "subnet-b", CIDR: netip.MustParsePrefix("10.0.1.0/24"), Egress: vpc.EgressNAT},
		},
		Nodes: []vpc.NodeView{{Name: "a"}, {Name: "b"}},
		Interfaces: []vpc.InterfaceView{
			eni("eni-0000000000000000a0", "0a:00:00:00:00:a0", "a", "subnet-a", 0, "10.0.0.10", "10.0.0.11", "2600:1f14:1:1::10"),
			eni("eni-0000000000000000a1", "0a:00:00:00:00:a1", "a", "subnet-a", 1, "10.0.0.20", "10.0.0.21"),
			eni("eni-0000000000000000b0", "0a:00:00:00:00:b0", "b", "subnet-b", 0, "10.0.1.10", "10.0.1.11"),
		},
	}
}

func eni(id, mac, node, subnet string, index int, addrs ...string) vpc.InterfaceView {
	i := vpc.InterfaceView{
		ID: id, MAC: mac, Node: node, Subnet: subnet, DeviceIndex: index, SourceDestCheck: true, DevicePresent: true,
		Public: map[netip.Addr]netip.Addr{},
	}
	for _, a := range addrs {
		i.Addresses = append(i.Addresses, netip.MustParseAddr(a))
	}
	if index == 0 && node == "a" {
		i.Public[i.Addresses[0]] = netip.MustParseAddr("198.51.100.7")
	}
	return i
}

// lab is a fabric under test.
type lab struct {
	*testing.T
	*Fabric
	view vpc.View
}

func newLab(t *testing.T) *lab {
	t.Helper()
	name := fmt.Sprintf("vf%d%s", os.Getpid(), strings.ToLower(t.Name()[4:min(8, len(t.Name()))]))
	f := New(name, slog.New(slog.NewTextHandler(io.Discard, nil)))
	t.Cleanup(func() {
		f.Close()
		if err := Remove(context.Background(), name); err != nil {
			t.Errorf("removing the fabric: %v", err)
		}
	})
	if err := f.Create(t.Context()); err != nil {
		t.Fatalf("creating the fabric: %v", err)
	}
	l := &lab{t, f, testView()}
	l.sync()
	return l
}

func (l *lab) sync() {
	l.Helper()
	if err := l.Sync(l.Context(), l.view); err != nil {
		l.Fatalf("sync: %v", err)
	}
}

// run executes a program in the namespace of a place and returns its output.
func (l *lab) run(place, command string) (string, error) {
	words := strings.Fields(command)
	cmd := exec.CommandContext(l.Context(), words[0], words[1:]...)
	var out strings.Builder
	cmd.Stdout, cmd.Stderr = &out, &out
	if err := l.In(place, cmd.Start); err != nil {
		return "", err
	}
	err := cmd.Wait()
	return out.String(), err
}

func (l *lab) must(place string, commands ...string) string {
	l.Helper()
	var last string
	for _, c := range commands {
		out, err := l.run(place, c)
		if err != nil {
			l.Fatalf("in %s: %s: %v\n%s", place, c, err, out)
		}
		last = out
	}
	return last
}

// serve runs an echo server in a place on port 9000 of every address.
func (l *lab) serve(place string) {
	l.Helper()
	var sockets echo.Sockets
	err := l.In(place, func() (err error) {
		sockets, err = echo.Open(l.Context(), ":9000")
		return err
	})
	if err != nil {
		l.Fatal(err)
	}
	go func() {
		if err := (echo.Server{Host: place}).Serve(l.Context(), sockets); err != nil {
			l.Errorf("echo server in %s: %v", place, err)
		}
	}()
}

// probe asks the echo server at target:9000 from a place. It returns the
// source that the server saw, or "" without an answer in time.
func (l *lab) probe(place, proto, from, target string, wait time.Duration) string {
	l.Helper()
	p := echo.Probe{Proto: proto, Target: net.JoinHostPort(target, "9000"), Wait: wait}
	if from != "" {
		p.Bind = netip.MustParseAddr(from)
	}
	res, err := l.ask(place, p)
	if err != nil {
		l.Logf("%s from %s to %s: %v", proto, place, target, err)
		return ""
	}
	return res.Source.Addr().String()
}

// ask runs a probe whose socket is in a place.
func (l *lab) ask(place string, p echo.Probe) (echo.Result, error) {
	var conn net.Conn
	err := l.In(place, func() (err error) {
		conn, err = p.Dial(l.Context())
		return err
	})
	if err != nil {
		return echo.Result{}, err
	}
	return p.Ask(l.Context(), conn)
}

// ping fails the test unless target answers within a second.
func (l *lab) ping(place, target string) {
	l.Helper()
	ctx, cancel := context.WithTimeout(l.Context(), time.Second)
	defer cancel()
	if err := l.Ping(ctx, place, netip.MustParseAddr(target)); err != nil {
		l.Error(err)
	}
}

// expect checks over TCP and UDP which source the server sees; "" is silence.
func (l *lab) expect(place, from, target, want string) {
	l.Helper()
	wait := 5 * time.Second
	if want == "" {
		wait = 200 * time.Millisecond // an answer takes less than one
	}
	for _, proto := range []string{"tcp", "udp"} {
		if got := l.probe(place, proto, from, target, wait); got != want {
			l.Errorf("%s from %s in %s to %s: server saw %q, want %q", proto, from, place, target, got, want)
		}
	}
}

// drops returns what the fabric counted, as "eni reason".
func (l *lab) drops() []string {
	l.Helper()
	drops, err := l.Drops(l.Context())
	if err != nil {
		l.Fatal(err)
	}
	var got []string
	for _, d := range drops {
		got = append(got, d.Node+" "+d.ENI[len(d.ENI)-2:]+" "+string(d.Reason))
	}
	return got
}

func (l *lab) expectDrops(want ...string) {
	l.Helper()
	if got := l.drops(); !slices.Equal(got, want) {
		l.Errorf("drops: got %q, want %q", got, want)
	}
}

// secondENI configures a's second ENI as an agent does: its own table, chosen
// by source address.
func (l *lab) secondENI() {
	l.Helper()
	l.must("a",
		"ip link set eth1 up",
		"ip route add 10.0.0.1 dev eth1 table 2 scope link",
		"ip route add default via 10.0.0.1 dev eth1 table 2",
		"ip rule add from 10.0.0.20 lookup 2",
		"ip addr add 10.0.0.20/32 dev eth1",
		"sysctl -qw net.ipv4.conf.all.rp_filter=2")
}
