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

// both says whether one proxy has this fate, and the other has that fate.
func both(a, b outcome, modeA, fateA, fateB string) bool {
	has := func(x, y outcome) bool {
		return strings.HasSuffix(x.proxy, modeA) && x.fate == fateA && y.fate == fateB
	}
	return has(a, b) || has(b, a)
}

var wanted = []want{
	{
		name:   "port that a cluster IP has not",
		reason: "kube-proxy in nftables mode refuses it; all others leave it to the routes, as kube-proxy in iptables mode does",
		covers: func(f flow, a, b outcome) bool {
			return f.front == "unknown port" && both(a, b, "kube-proxy nftables", refused, silence)
		},
	},
	{
		name:   "source ranges without endpoints",
		reason: "the ranges of nftables mode are asked before the endpoints are, those of iptables mode after: a client out of them meets silence or a refusal",
		covers: func(f flow, a, b outcome) bool {
			return f.ranges && f.front == "balancer" && both(a, b, "nftables", silence, refused)
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
