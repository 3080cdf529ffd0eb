package difftest

import "strings"

// want is a difference that is meant.
type want struct {
	name   string
	reason string
	covers func(f flow, a, b outcome) bool
}

// outcome is what becomes of a flow at a proxy.
type outcome struct{ proxy, fate string }

// modes says whether one is in iptables mode with this fate, and the other in
// nftables mode with that.
func modes(a, b outcome, iptables, nftables string) bool {
	has := func(x, y outcome) bool {
		return strings.HasSuffix(x.proxy, " iptables") && x.fate == iptables && strings.HasSuffix(y.proxy, " nftables") && y.fate == nftables
	}
	return has(a, b) || has(b, a)
}

var wanted = []want{
	{
		name:   "port that a cluster IP has not",
		reason: "kube-proxy in nftables mode refuses it; the others leave it to the routes, as kube-proxy in iptables mode does",
		covers: func(f flow, a, b outcome) bool {
			has := func(x, y outcome) bool {
				return x.proxy == "kube-proxy nftables" && x.fate == refused && y.fate == silence
			}
			return f.front == "unknown port" && (has(a, b) || has(b, a))
		},
	},
	{
		name:   "source ranges without endpoints",
		reason: "kube-proxy in nftables mode asks for the ranges before it asks for endpoints; a client out of them meets silence there, and the refusal of a service without endpoints elsewhere",
		covers: func(f flow, a, b outcome) bool {
			has := func(x, y outcome) bool {
				return x.proxy == "kube-proxy nftables" && x.fate == silence && y.fate == refused
			}
			return f.ranges && f.front == "balancer" && (has(a, b) || has(b, a))
		},
	},
	{
		name:   "port of a node port at another address of the node",
		reason: "iptables mode refuses or drops for a node port without endpoints at all of the node's addresses, nftables mode at those that have node ports",
		covers: func(f flow, a, b outcome) bool {
			return f.front == "node port elsewhere" && modes(a, b, silence, refused)
		},
	},
	{
		name:   "external address without endpoints, from the node",
		reason: "iptables mode refuses what comes in or is forwarded, not what the node itself sends out; nftables mode refuses that, too",
		covers: func(f flow, a, b outcome) bool {
			return f.source == "node" && (f.front == "external IP" || f.front == "balancer") && modes(a, b, silence, refused)
		},
	},
}

// wantedBy names the entry of the table that covers a difference.
func wantedBy(f flow, a, b outcome) string {
	for _, w := range wanted {
		if w.covers(f, a, b) {
			return w.name
		}
	}
	return ""
}
