package ruleset

import (
	"io"
	"strings"
	"testing"
)

// TestRemovalOfFirewall leaves KUBE-FIREWALL to kubelet where that is, and takes
// it along where nobody else has it.
func TestRemovalOfFirewall(t *testing.T) {
	const services = "*filter\n:OUTPUT ACCEPT [0:0]\n:KUBE-FIREWALL - [0:0]\n:KUBE-SERVICES - [0:0]\n-A OUTPUT -j KUBE-FIREWALL\n-A KUBE-FIREWALL -j DROP\nCOMMIT\n"
	for kubelet, goes := range map[string]bool{
		"": true,
		"*mangle\n:KUBE-KUBELET-CANARY - [0:0]\nCOMMIT\n": false,
		"*mangle\n:KUBE-IPTABLES-HINT - [0:0]\nCOMMIT\n":  false,
		"*mangle\n:KUBE-PROXY-CANARY - [0:0]\nCOMMIT\n":   true,
	} {
		have, err := Read(strings.NewReader(kubelet + services))
		if err != nil {
			t.Fatal(err)
		}
		text, err := io.ReadAll(Removal(have, 1<<20).Input())
		if err != nil {
			t.Fatal(err)
		}
		if strings.Contains(string(text), "KUBE-FIREWALL") != goes || !strings.Contains(string(text), "KUBE-SERVICES") {
			t.Errorf("with %q:\n%s", kubelet, text)
		}
	}
}
