package ruleset

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

const (
	canary    = ":KUBE-PROXY-CANARY - [0:0]\n"
	ourPre    = `PREROUTING -m comment --comment "Causeway, service portals" -j KUBE-SERVICES` + "\n"
	theirPre  = `PREROUTING -m comment --comment "kubernetes service portals" -j KUBE-SERVICES` + "\n"
	ourPost   = `POSTROUTING -m comment --comment "Causeway, postrouting rules" -j KUBE-POSTROUTING` + "\n"
	theirPost = `POSTROUTING -m comment --comment "kubernetes postrouting rules" -j KUBE-POSTROUTING` + "\n"
	othersPre = `PREROUTING -m comment --comment "kubernetes is not mine" -j MINE` + "\n"
)

// nat is a table with services and with these rules.
func nat(t *testing.T, more string, rules ...string) Saved {
	t.Helper()
	text := "*nat\n:PREROUTING ACCEPT [0:0]\n:POSTROUTING ACCEPT [0:0]\n:KUBE-SERVICES - [0:0]\n:KUBE-POSTROUTING - [0:0]\n:KUBE-SVC-A - [0:0]\n:MINE - [0:0]\n" +
		more + "-A " + othersPre
	for _, r := range rules {
		text += "-A " + r
	}
	saved, err := Read(strings.NewReader(text + "COMMIT\n"))
	if err != nil {
		t.Fatal(err)
	}
	return saved
}

// TestServes takes kube-proxy to serve once it has a jump beside each of ours.
func TestServes(t *testing.T) {
	tests := map[string]struct {
		have Saved
		want bool
	}{
		"ours alone":                   {nat(t, "", ourPre, ourPost), false},
		"it has started":               {nat(t, canary, ourPre, ourPost), false},
		"it has one jump":              {nat(t, canary, theirPre, ourPre, ourPost), false},
		"it has all":                   {nat(t, canary, theirPre, ourPre, theirPost, ourPost), true},
		"its own alone":                {nat(t, canary, theirPre, theirPost), true},
		"what it left":                 {nat(t, "", theirPre, theirPost), false},
		"another's rule, in its place": {nat(t, canary, othersPre, ourPre), false},
	}
	for name, test := range tests {
		if got := test.have.Serves(); got != test.want {
			t.Errorf("%s: serves %t, want %t", name, got, test.want)
		}
	}
}

// TestJumpRemovals holds that each takes the other's jumps only beside its own.
func TestJumpRemovals(t *testing.T) {
	both := nat(t, canary, theirPre, ourPre, ourPost)
	tests := map[string]struct {
		got  Batch
		want string
	}{
		"taken over":        {KubeProxyRemoval(both, 0), "*nat\n:KUBE-PROXY-CANARY - [0:0]\n-D " + theirPre + "-X KUBE-PROXY-CANARY\nCOMMIT\n"},
		"without ours":      {KubeProxyRemoval(nat(t, "", theirPre, theirPost), 0), ""},
		"without canary":    {KubeProxyRemoval(nat(t, "", theirPre, theirPre, ourPre), 0), "*nat\n-D " + theirPre + "-D " + theirPre + "COMMIT\n"},
		"given up":          {OurRemoval(both, 0), "*nat\n-D " + ourPre + "COMMIT\n"},
		"without its jumps": {OurRemoval(nat(t, canary, ourPre, ourPost), 0), ""},
		"it is not here": {OurRemoval(nat(t, "", ourPre, theirPost), 0), "*nat\n:KUBE-SVC-A - [0:0]\n:KUBE-SERVICES - [0:0]\n:KUBE-POSTROUTING - [0:0]\n-D " +
			ourPre + "-D " + theirPost + "-X KUBE-POSTROUTING\n-X KUBE-SERVICES\n-X KUBE-SVC-A\nCOMMIT\n"},
	}
	for name, test := range tests {
		if diff := cmp.Diff(test.want, input(test.got)); diff != "" {
			t.Errorf("%s (-want +got):\n%s", name, diff)
		}
	}
}
