package iptables

import (
	"crypto/sha256"
	"encoding/base32"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/causeway-cni/causeway/proxy/service"
)

// kubeProxy is what kube-proxy v1.36 gives iptables-restore, and the jumps that
// it makes, for the service of TestAdopt.
const kubeProxy = `*filter
:KUBE-SERVICES - [0:0]
:KUBE-EXTERNAL-SERVICES - [0:0]
:KUBE-FORWARD - [0:0]
:KUBE-NODEPORTS - [0:0]
:KUBE-PROXY-FIREWALL - [0:0]
:KUBE-PROXY-CANARY - [0:0]
-I INPUT -m conntrack --ctstate NEW -m comment --comment "kubernetes externally-visible service portals" -j KUBE-EXTERNAL-SERVICES
-I FORWARD -m conntrack --ctstate NEW -m comment --comment "kubernetes externally-visible service portals" -j KUBE-EXTERNAL-SERVICES
-I INPUT -m comment --comment "kubernetes health check service ports" -j KUBE-NODEPORTS
-I FORWARD -m conntrack --ctstate NEW -m comment --comment "kubernetes service portals" -j KUBE-SERVICES
-I OUTPUT -m conntrack --ctstate NEW -m comment --comment "kubernetes service portals" -j KUBE-SERVICES
-I FORWARD -m comment --comment "kubernetes forwarding rules" -j KUBE-FORWARD
-I INPUT -m conntrack --ctstate NEW -m comment --comment "kubernetes load balancer firewall" -j KUBE-PROXY-FIREWALL
-I OUTPUT -m conntrack --ctstate NEW -m comment --comment "kubernetes load balancer firewall" -j KUBE-PROXY-FIREWALL
-I FORWARD -m conntrack --ctstate NEW -m comment --comment "kubernetes load balancer firewall" -j KUBE-PROXY-FIREWALL
-A KUBE-FORWARD -m conntrack --ctstate INVALID -j DROP
-A KUBE-FORWARD -m comment --comment "kubernetes forwarding rules" -m mark --mark 0x00004000/0x00004000 -j ACCEPT
-A KUBE-FORWARD -m comment --comment "kubernetes forwarding conntrack rule" -m conntrack --ctstate RELATED,ESTABLISHED -j ACCEPT
COMMIT
*nat
:KUBE-SERVICES - [0:0]
:KUBE-NODEPORTS - [0:0]
:KUBE-POSTROUTING - [0:0]
:KUBE-MARK-MASQ - [0:0]
:KUBE-PROXY-CANARY - [0:0]
:KUBE-SVC-SVC - [0:0]
:KUBE-EXT-SVC - [0:0]
:KUBE-SEP-POD0 - [0:0]
:KUBE-SEP-POD1 - [0:0]
:KUBE-SEP-GONE - [0:0]
-I OUTPUT -m comment --comment "kubernetes service portals" -j KUBE-SERVICES
-I PREROUTING -m comment --comment "kubernetes service portals" -j KUBE-SERVICES
-I POSTROUTING -m comment --comment "kubernetes postrouting rules" -j KUBE-POSTROUTING
-A KUBE-SERVICES -m comment --comment "ns/web:http cluster IP" -m tcp -p tcp -d 10.100.0.1 --dport 80 -j KUBE-SVC-SVC
-A KUBE-SERVICES -m comment --comment "ns/web:http loadbalancer IP" -m tcp -p tcp -d 203.0.113.100 --dport 80 -j KUBE-EXT-SVC
-A KUBE-SERVICES -m comment --comment "kubernetes service nodeports; NOTE: this must be the last rule in this chain" -m addrtype --dst-type LOCAL ! -d 127.0.0.0/8 -j KUBE-NODEPORTS
-A KUBE-NODEPORTS -m comment --comment ns/web:http -m tcp -p tcp --dport 30080 -j KUBE-EXT-SVC
-A KUBE-POSTROUTING -m mark ! --mark 0x00004000/0x00004000 -j RETURN
-A KUBE-POSTROUTING -j MARK --xor-mark 0x00004000
-A KUBE-POSTROUTING -m comment --comment "kubernetes service traffic requiring SNAT" -j MASQUERADE --random-fully
-A KUBE-MARK-MASQ -j MARK --or-mark 0x00004000
-A KUBE-SVC-SVC -m comment --comment "ns/web:http cluster IP" -m tcp -p tcp -d 10.100.0.1 --dport 80 ! -i eni+ -j KUBE-MARK-MASQ
-A KUBE-SVC-SVC -m comment --comment "ns/web:http -> 192.168.1.61:8080" -m recent --name KUBE-SEP-POD0 --rcheck --seconds 3600 --reap -j KUBE-SEP-POD0
-A KUBE-SVC-SVC -m comment --comment "ns/web:http -> 192.168.1.62:8080" -m recent --name KUBE-SEP-POD1 --rcheck --seconds 3600 --reap -j KUBE-SEP-POD1
-A KUBE-SVC-SVC -m comment --comment "ns/web:http -> 192.168.1.61:8080" -m statistic --mode random --probability 0.5000000000 -j KUBE-SEP-POD0
-A KUBE-SVC-SVC -m comment --comment "ns/web:http -> 192.168.1.62:8080" -j KUBE-SEP-POD1
-A KUBE-EXT-SVC -m comment --comment "masquerade traffic for ns/web:http external destinations" -j KUBE-MARK-MASQ
-A KUBE-EXT-SVC -j KUBE-SVC-SVC
-A KUBE-SEP-POD0 -m comment --comment ns/web:http -s 192.168.1.61 -j KUBE-MARK-MASQ
-A KUBE-SEP-POD0 -m comment --comment ns/web:http -m recent --name KUBE-SEP-POD0 --set -m tcp -p tcp -j DNAT --to-destination 192.168.1.61:8080
-A KUBE-SEP-POD1 -m comment --comment ns/web:http -s 192.168.1.62 -j KUBE-MARK-MASQ
-A KUBE-SEP-POD1 -m comment --comment ns/web:http -m recent --name KUBE-SEP-POD1 --set -m tcp -p tcp -j DNAT --to-destination 192.168.1.62:8080
COMMIT
`

// TestAdopt takes kube-proxy's rules over as they are: nothing is written but
// the end of a chain that it left behind, and jumps beside its own. The kernel is
// one whose lists of clients are long enough.
func TestAdopt(t *testing.T) {
	long := filepath.Join(t.TempDir(), "ip_list_tot")
	if err := os.WriteFile(long, []byte("4096\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	eachLab(t, func(t *testing.T, l *lab) {
		l.backend.listTotal = long
		program := l.backend.program
		l.node.Feed(l.kubeProxy(), program+"-restore", "--noflush")
		before := ruleText(l.node.Run(program + "-save"))
		l.reopen()
		if n := l.put("01", l.balanced, func(s *service.Service) { s.Affinity = time.Hour }); n != 1 {
			t.Errorf("%d chains written, want the one left behind", n)
		}
		saved := l.node.Run(program + "-save")
		if diff := cmp.Diff(before, withoutJumps(ruleText(saved))); diff != "" {
			t.Errorf("rules but for our jumps (-kube-proxy's +ours):\n%s", diff)
		}
		if strings.Contains(saved, "KUBE-SEP-GONE") || !strings.Contains(saved, "KUBE-PROXY-CANARY") {
			t.Errorf("want KUBE-SEP-GONE deleted and the canary left:\n%s", saved)
		}
	})
}

// withoutJumps leaves out our jumps to chains of services.
func withoutJumps(rules string) string {
	var b strings.Builder
	for line := range strings.Lines(rules) {
		if !strings.Contains(line, `--comment "Causeway, `) {
			b.WriteString(line)
		}
	}
	return b.String()
}

// kubeProxy is its rules with the names and addresses of the lab.
func (l *lab) kubeProxy() string {
	name := func(id string) string {
		sum := sha256.Sum256([]byte(id))
		return base32.StdEncoding.EncodeToString(sum[:])[:16]
	}
	pods := []string{net.JoinHostPort(l.at.pods[0], "8080"), net.JoinHostPort(l.at.pods[1], "8080")}
	replace := []string{
		"-SVC-SVC", "-SVC-" + name("ns/web:httptcp"), "-EXT-SVC", "-EXT-" + name("ns/web:httptcp"),
		"-SEP-POD0", "-SEP-" + name("ns/web:httptcp"+pods[0]),
		"-SEP-POD1", "-SEP-" + name("ns/web:httptcp"+pods[1]),
	}
	for i, old := range []string{plan4.pods[0], plan4.pods[1]} {
		replace = append(replace, old+":8080", pods[i], old, l.at.pods[i])
	}
	replace = append(replace, plan4.vip+" ", l.at.vip+" ", plan4.balancer, l.at.balancer)
	if l.at.family == service.IPv6 {
		replace = append(replace, "127.0.0.0/8", "::1/128")
	}
	return strings.NewReplacer(replace...).Replace(kubeProxy)
}
