package proxy

import (
	"fmt"
	"net"
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/causeway-cni/causeway/proxy/internal/nstest"
)

// lab is a node with two ENIs and a pod on the secondary one. Behind each ENI
// is a wire of its own, which stands for the VPC and all beyond, so that an
// answer tells which ENI a packet left by. On both wires are:
//
//	203.0.113.9    a host outside of the VPC
//	192.168.200.9  a host of the VPC
//	100.64.0.9     a host of a block that joins the VPC later
type lab struct {
	*node
	pod   *nstest.Namespace
	wires [2]*nstest.Namespace
}

const podAddr = "192.168.1.61"

func eachLab(t *testing.T, test func(t *testing.T, l *lab)) {
	eachVariant(t, func(t *testing.T, n *node) { test(t, newLab(t, n)) })
}

func newLab(t *testing.T, n *node) *lab {
	t.Helper()
	l := &lab{node: n, pod: nstest.New(t)}
	for i := range l.wires {
		wire, eth := nstest.New(t), fmt.Sprintf("eth%d", i)
		l.wires[i] = wire
		nstest.Join(n.Namespace, eth, wire, "vpc")
		wire.Run("ip", "addr", "add", "192.168.1.1/24", "dev", "vpc")
		own := fmt.Sprintf("192.168.1.%d", 50+10*i)
		n.Run("ip", "addr", "add", own+"/24", "dev", eth)
		wire.Run("ip", "route", "add", podAddr, "via", own)
		for _, host := range []string{"203.0.113.9", "192.168.200.9", "100.64.0.9"} {
			wire.Run("ip", "addr", "add", host+"/32", "dev", "lo")
			l.echo(wire, host+":7", fmt.Sprintf("wire %d", i))
		}
		n.Run("sysctl", "-qw", "net.ipv4.conf."+eth+".rp_filter=2")
	}
	nstest.Join(n.Namespace, "enipod", l.pod, "eth0")
	l.pod.Run("ip", "addr", "add", podAddr+"/32", "dev", "eth0")
	l.pod.Run("ip", "route", "add", "169.254.1.1", "dev", "eth0")
	l.pod.Run("ip", "route", "add", "default", "via", "169.254.1.1")
	mac := strings.TrimSpace(n.Run("cat", "/sys/class/net/enipod/address"))
	l.pod.Run("ip", "neigh", "add", "169.254.1.1", "lladdr", mac, "dev", "eth0", "nud", "permanent")
	l.echo(l.pod, podAddr+":7", "pod")
	for _, args := range []string{
		"route add " + podAddr + " dev enipod",
		"route del 192.168.1.0/24 dev eth1",
		"route add default via 192.168.1.1 dev eth0",
		"route add 192.168.1.1 dev eth1 table 2",
		"route add default via 192.168.1.1 dev eth1 table 2",
		"rule add pref 512 to " + podAddr + " lookup main",
		"rule add pref 1024 fwmark 0x80/0x80 lookup main",
		"rule add pref 1536 from " + podAddr + " lookup 2",
	} {
		n.Run(append([]string{"ip"}, strings.Fields(args)...)...)
	}
	n.Run("sysctl", "-qw", "net.ipv4.ip_forward=1")
	return l
}

// echo answers every datagram with the name of the place and the source seen.
func (l *lab) echo(in *nstest.Namespace, address, name string) {
	l.t.Helper()
	var conn net.PacketConn
	var err error
	in.Do(func() { conn, err = net.ListenPacket("udp4", address) })
	if err != nil {
		l.t.Fatal(err)
	}
	l.t.Cleanup(func() { conn.Close() })
	go func() {
		buffer := make([]byte, 64)
		for {
			_, from, err := conn.ReadFrom(buffer)
			if err != nil {
				return
			}
			conn.WriteTo([]byte(name+" sees "+from.String()), from)
		}
	}()
}

// flow is a connected UDP socket.
type flow struct {
	t    *testing.T
	conn net.Conn
}

func (l *lab) dial(from *nstest.Namespace, source, to string) flow {
	l.t.Helper()
	var conn net.Conn
	var err error
	dialer := net.Dialer{LocalAddr: net.UDPAddrFromAddrPort(netip.AddrPortFrom(netip.MustParseAddr(source), 0))}
	from.Do(func() { conn, err = dialer.Dial("udp4", to) })
	if err != nil {
		l.t.Fatal(err)
	}
	l.t.Cleanup(func() { conn.Close() })
	return flow{l.t, conn}
}

// ask sends a datagram and returns who answered, which address that one saw,
// and whether the source port was kept.
func (f flow) ask() (answer string, portKept bool) {
	f.t.Helper()
	f.conn.SetDeadline(time.Now().Add(2 * time.Second))
	if _, err := f.conn.Write([]byte("?")); err != nil {
		return "error: " + err.Error(), false
	}
	buffer := make([]byte, 64)
	n, err := f.conn.Read(buffer)
	if err != nil {
		return "no answer", false
	}
	answer = string(buffer[:n])
	colon := strings.LastIndexByte(answer, ':')
	_, own, _ := strings.Cut(f.conn.LocalAddr().String(), ":")
	return answer[:colon], answer[colon+1:] == own
}

// fromPod opens a flow from the pod and holds that each of its packets is seen
// as told: later packets take another way through the rules than the first.
func (l *lab) fromPod(to, want string) flow {
	l.t.Helper()
	f := l.dial(l.pod, podAddr, to+":7")
	l.goesOn(f, want)
	return f
}

func (l *lab) goesOn(f flow, want string) {
	l.t.Helper()
	for i := range 3 {
		if got, _ := f.ask(); got != want {
			l.t.Errorf("packet %d to %s: %q, want %q", i, f.conn.RemoteAddr(), got, want)
		}
	}
}

func TestPacketsFromPod(t *testing.T) {
	eachLab(t, func(t *testing.T, l *lab) {
		const translated, own = "wire 0 sees 192.168.1.50", "wire 1 sees " + podAddr
		l.sync(nodeNAT())
		l.fromPod("203.0.113.9", translated)
		l.fromPod("192.168.200.9", own)
		old := l.fromPod("100.64.0.9", translated)

		more := nodeNAT()
		more.VPCBlocks = append(more.VPCBlocks, netip.MustParsePrefix("100.64.0.0/16"))
		l.sync(more)
		l.fromPod("100.64.0.9", own)
		l.goesOn(old, translated)

		excluded := more
		excluded.Excluded = []netip.Prefix{netip.MustParsePrefix("203.0.113.0/24")}
		l.sync(excluded)
		l.fromPod("203.0.113.9", own)

		external := nodeNAT()
		external.External = true
		l.sync(external)
		l.fromPod("203.0.113.9", own)
		l.goesOn(old, translated)
	})
}

func TestSourcePorts(t *testing.T) {
	for name, wantKept := range map[string]bool{"prng": false, "hashrandom": false, "none": true} {
		t.Run(name, func(t *testing.T) {
			l := newLab(t, &node{nstest.New(t), t, NFT, New(IPTables, NFT)})
			nat := nodeNAT()
			var err error
			if nat.Randomize, err = ParseRandomize(name); err != nil {
				t.Fatal(err)
			}
			l.sync(nat)
			kept := 0
			for range 20 {
				answer, k := l.dial(l.pod, podAddr, "203.0.113.9:7").ask()
				if answer != "wire 0 sees 192.168.1.50" {
					t.Errorf("%q", answer)
				}
				if k {
					kept++
				}
			}
			if wantKept && kept != 20 || !wantKept && kept > 2 {
				t.Errorf("%d of 20 connections kept their source port", kept)
			}
		})
	}
}

func TestPacketsOfNode(t *testing.T) {
	eachLab(t, func(t *testing.T, l *lab) {
		l.sync(nodeNAT())
		l.echo(l.Namespace, "127.0.0.1:7", "node")
		l.goesOn(l.dial(l.Namespace, "127.0.0.1", "127.0.0.1:7"), "node sees 127.0.0.1")
		l.goesOn(l.dial(l.Namespace, "192.168.1.50", "203.0.113.9:7"), "wire 0 sees 192.168.1.50")
		l.goesOn(l.dial(l.Namespace, "192.168.1.50", podAddr+":7"), "pod sees 192.168.1.50")
		l.echo(l.Namespace, "192.168.1.50:7", "node")
		l.fromPod("192.168.1.50", "node sees "+podAddr)
	})
}

// services stands for kube-proxy: a node port and a service address.
const services = `*nat
:KUBE-SERVICES - [0:0]
-I PREROUTING -j KUBE-SERVICES
-A KUBE-SERVICES -d 192.168.1.50/32 -p udp -m udp --dport 30080 -j DNAT --to-destination 192.168.1.61:7
-A KUBE-SERVICES -d 10.100.0.1/32 -p udp -m udp --dport 7 -j DNAT --to-destination 192.168.200.9:7
COMMIT
`

func TestPacketsToPod(t *testing.T) {
	eachLab(t, func(t *testing.T, l *lab) {
		l.sync(nodeNAT())
		l.Feed(services, "iptables-"+string(l.v)+"-restore", "--noflush", "-w", "5")
		l.sync(nodeNAT())
		for _, test := range []struct {
			name, to string
			wire     int
		}{
			{"node port, reply by the primary ENI", "192.168.1.50:30080", 0},
			{"straight to the pod, reply by its own ENI", podAddr + ":7", 1},
		} {
			t.Run(test.name, func(t *testing.T) {
				l.goesOn(l.dial(l.wires[test.wire], "203.0.113.9", test.to), "pod sees 203.0.113.9")
			})
		}
		l.fromPod("10.100.0.1", "wire 1 sees "+podAddr)
	})
}

// awsNode is what aws-node's commands leave for nodeNAT, in its own order.
func (n *node) awsNode() {
	n.t.Helper()
	const mark = "0x80/0x80"
	for _, rule := range [][]string{
		{"-t", "nat", "-N", "AWS-SNAT-CHAIN-0"},
		{"-t", "nat", "-A", "POSTROUTING", "-m", "comment", "--comment", "AWS SNAT CHAIN", "-j", "AWS-SNAT-CHAIN-0"},
		{"-t", "nat", "-I", "AWS-SNAT-CHAIN-0", "1", "-d", "192.168.0.0/16", "-m", "comment", "--comment", "AWS SNAT CHAIN", "-j", "RETURN"},
		{"-t", "nat", "-A", "AWS-SNAT-CHAIN-0", "!", "-o", "vlan+", "-m", "comment", "--comment", "AWS, SNAT", "-m", "addrtype", "!", "--dst-type", "LOCAL", "-j", "SNAT", "--to-source", "192.168.1.50", "--random-fully"},
		{"-t", "mangle", "-A", "PREROUTING", "-m", "comment", "--comment", "AWS, primary ENI", "-i", "eth0", "-m", "addrtype", "--dst-type", "LOCAL", "--limit-iface-in", "-j", "CONNMARK", "--set-mark", mark},
		{"-t", "mangle", "-A", "PREROUTING", "-m", "comment", "--comment", "AWS, primary ENI", "-i", "eni+", "-j", "CONNMARK", "--restore-mark", "--mask", "0x80"},
		{"-t", "mangle", "-A", "PREROUTING", "-m", "comment", "--comment", "AWS, primary ENI", "-i", "vlan+", "-j", "CONNMARK", "--restore-mark", "--mask", "0x80"},
		{"-t", "nat", "-N", "AWS-CONNMARK-CHAIN-0"},
		{"-t", "nat", "-A", "PREROUTING", "-i", "eni+", "-m", "comment", "--comment", "AWS, outbound connections", "-j", "AWS-CONNMARK-CHAIN-0"},
		{"-t", "nat", "-I", "AWS-CONNMARK-CHAIN-0", "1", "-d", "192.168.0.0/16", "-m", "comment", "--comment", "AWS CONNMARK CHAIN, VPC CIDR", "-j", "RETURN"},
		{"-t", "nat", "-A", "PREROUTING", "-m", "comment", "--comment", "AWS, CONNMARK", "-j", "CONNMARK", "--restore-mark", "--mask", "0x80"},
		{"-t", "nat", "-A", "AWS-CONNMARK-CHAIN-0", "-m", "comment", "--comment", "AWS, CONNMARK", "-j", "CONNMARK", "--set-xmark", mark},
	} {
		n.iptables(rule...)
	}
}

func TestTakeOverAsIs(t *testing.T) {
	eachVariant(t, func(t *testing.T, n *node) {
		n.awsNode()
		n.proxy = New(IPTables, Auto)
		n.hit()
		before := n.Run("iptables-"+string(n.v)+"-save", "-c", "-t", "nat")
		if changes := n.sync(nodeNAT()); len(changes) != 1 {
			t.Errorf("changes to what aws-node wrote: %q", changes)
		}
		n.mustShowWanted()
		if diff := cmp.Diff(ruleLines(before), ruleLines(n.Run("iptables-"+string(n.v)+"-save", "-c", "-t", "nat"))); diff != "" {
			t.Errorf("counters (-before +after):\n%s", diff)
		}
	})
}

func ruleLines(s string) string { return keepLines(s, "[") }

// connmarkTable is where aws-node keeps the mark on iptables-nft.
const connmarkTable = `table ip aws-cni {
	chain snat-mark {
		ip daddr 192.168.0.0/16 return
		ct mark set ct mark or 0x80
	}
	chain nat-prerouting {
		type nat hook prerouting priority -90; policy accept;
		iifname "eni*" jump snat-mark
		meta mark set ct mark and 0x80
	}
}
`

// older is aws-node's layout of old: one chain for every block.
const older = `*nat
:AWS-SNAT-CHAIN-0 - [0:0]
:AWS-SNAT-CHAIN-1 - [0:0]
-A POSTROUTING -m comment --comment "AWS SNAT CHAN" -j AWS-SNAT-CHAIN-0
-A AWS-SNAT-CHAIN-0 ! -d 192.168.0.0/16 -m comment --comment "AWS SNAT CHAN" -j AWS-SNAT-CHAIN-1
-A AWS-SNAT-CHAIN-1 ! -o vlan+ -m comment --comment "AWS, SNAT" -m addrtype ! --dst-type LOCAL -j SNAT --to-source 192.168.1.50 --random-fully
COMMIT
*mangle
-A PREROUTING -i eni+ -m comment --comment "AWS, primary ENI" -j CONNMARK --restore-mark --nfmask 0x80 --ctmask 0x80
COMMIT
`

// TestTakeOverWithoutGap opens connections all the time while rules of another
// shape are replaced.
func TestTakeOverWithoutGap(t *testing.T) {
	eachLab(t, func(t *testing.T, l *lab) {
		l.Feed(connmarkTable, "nft", "-f", "-")
		l.Feed(older, "iptables-"+string(l.v)+"-restore", "--noflush", "-w", "5")
		l.fromPod("203.0.113.9", "wire 0 sees 192.168.1.50")

		synced := make(chan []string)
		go func() {
			changes, err := l.trySync(nodeNAT())
			if err != nil {
				t.Errorf("Sync: %v", err)
			}
			synced <- changes
		}()
		seen := map[string]int{}
		var changes []string
		for changes == nil {
			f := l.dial(l.pod, podAddr, "203.0.113.9:7")
			answer, _ := f.ask()
			f.conn.Close()
			seen[answer]++
			select {
			case changes = <-synced:
			default:
			}
		}
		if len(seen) != 1 || seen["wire 0 sees 192.168.1.50"] == 0 {
			t.Errorf("connections during the takeover: %v", seen)
		}
		t.Logf("%d connections during %d changes", seen["wire 0 sees 192.168.1.50"], len(changes))
		l.mustShowWanted()
		if tables := l.Run("nft", "list", "tables"); strings.Contains(tables, "aws-cni") {
			t.Errorf("aws-node's table is still there:\n%s", tables)
		}
		if !l.untouched() {
			t.Error("Check is false after the takeover")
		}
		l.fromPod("203.0.113.9", "wire 0 sees 192.168.1.50")
	})
}

func TestTakeOverFromOtherVariant(t *testing.T) {
	eachVariant(t, func(t *testing.T, n *node) {
		other := &node{n.Namespace, t, Legacy, nil}
		if n.v == Legacy {
			other.v = NFT
		}
		other.awsNode()
		other.iptables("-t", "nat", "-A", "PREROUTING", "-p", "tcp", "-j", "RETURN")
		n.sync(nodeNAT())
		n.mustShowWanted()
		other.mustShow([]string{"nat -A PREROUTING -p tcp -j RETURN"})
	})
}
