// Package sysctl knows which settings of the kernel services need, as
// kube-proxy v1.36 sizes them (For), and writes those that differ (Writer).
//
// Some cannot be written everywhere: /proc/sys is read-only in most
// containers, and the size of the table of connections belongs to the first
// network namespace. That is said once for each setting, and stops nothing:
// the node works, with the kernel's own values.
package sysctl

import (
	"fmt"
	"time"

	"github.com/causeway-cni/causeway/config"
)

// Sysctl is a setting of the kernel.
type Sysctl struct {
	Path  string // in the file system
	Value int
	// AtLeast leaves a higher value alone: somebody made this node larger.
	AtLeast bool
}

// String is "path = value", with >= if higher is fine, too.
func (s Sysctl) String() string {
	if s.AtLeast {
		return fmt.Sprintf("%s >= %d", s.Path, s.Value)
	}
	return fmt.Sprintf("%s = %d", s.Path, s.Value)
}

const (
	netfilter = "/proc/sys/net/netfilter/"
	// mostConnections is the most that the number of cores leads to; an entry
	// takes about 300 bytes.
	mostConnections = 1 << 20
	// perBucket is how many connections share a bucket of a full table.
	perBucket = 4
)

// For is what the settings want on a node with so many cores, in the order in
// which it is to be written. kube-proxy also makes the table smaller than it
// finds it; this does not, for that loses connections at best.
func For(c config.Conntrack, cores int, localhostNodePorts bool) []Sysctl {
	var all []Sysctl
	if most := connections(c, cores); most > 0 {
		all = append(all,
			Sysctl{netfilter + "nf_conntrack_max", most, true},
			Sysctl{"/sys/module/nf_conntrack/parameters/hashsize", most / perBucket, true})
	}
	timeout := func(name string, d time.Duration) {
		if d > 0 {
			seconds := int((d + time.Second - 1) / time.Second)
			all = append(all, Sysctl{Path: netfilter + name, Value: seconds})
		}
	}
	timeout("nf_conntrack_tcp_timeout_established", c.TCPEstablished)
	timeout("nf_conntrack_tcp_timeout_close_wait", c.TCPCloseWait)
	if c.Liberal {
		all = append(all, Sysctl{Path: netfilter + "nf_conntrack_tcp_be_liberal", Value: 1})
	}
	timeout("nf_conntrack_udp_timeout", c.UDP)
	timeout("nf_conntrack_udp_timeout_stream", c.UDPStream)
	if localhostNodePorts {
		// Lets 127.0.0.1 be translated to an address elsewhere.
		all = append(all, Sysctl{Path: "/proc/sys/net/ipv4/conf/all/route_localnet", Value: 1})
	}
	return all
}

// connections is how many the table must hold; 0 to leave it. Without a number
// for each core the minimum does not count, as for kube-proxy.
func connections(c config.Conntrack, cores int) int {
	if c.MaxPerCore == 0 {
		return 0
	}
	return min(max(c.MaxPerCore*cores, c.Min), mostConnections)
}
