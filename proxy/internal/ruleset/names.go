package ruleset

import (
	"crypto/sha256"
	"encoding/base32"
	"strings"

	"github.com/causeway-cni/causeway/proxy/service"
)

// Chains that every service shares. kubeServices and kubeNodePorts exist in nat
// and in filter, with different content.
const (
	kubeServices      = "KUBE-SERVICES"
	kubeNodePorts     = "KUBE-NODEPORTS"
	kubeHostPorts     = "KUBE-HOSTPORTS" // ours: kube-proxy knows no host ports
	kubePostrouting   = "KUBE-POSTROUTING"
	kubeMarkMasq      = "KUBE-MARK-MASQ"
	kubeExternal      = "KUBE-EXTERNAL-SERVICES"
	kubeForward       = "KUBE-FORWARD"
	kubeProxyFirewall = "KUBE-PROXY-FIREWALL"
	kubeFirewall      = "KUBE-FIREWALL"
	kubeProxyCanary   = "KUBE-PROXY-CANARY" // kube-proxy's alone, empty, in all tables
)

// hostPortPrefix begins the names of chains of host ports.
const hostPortPrefix = "KUBE-HP-"

// ofServices says whether a chain is of services, kube-proxy's or ours. Others
// have chains that begin with KUBE-, too: kubelet, and kube-router.
func ofServices(chain string) bool {
	switch chain {
	case kubeServices, kubeNodePorts, kubeHostPorts, kubePostrouting, kubeMarkMasq, kubeExternal, kubeForward,
		kubeProxyFirewall, kubeFirewall, kubeProxyCanary, probeChain:
		return true
	}
	return ofService(chain)
}

// chainNames are the chains of one service-port.
type chainNames struct {
	cluster, local     string // balance over endpoints, by policy
	external, firewall string // what comes to external front ends; to restricted ones
	host               string // what comes to a host port; ours, too
	endpoint           func(service.Target) string
}

// namesOf names chains as kube-proxy does: a hash of the service-port's name
// and protocol, and of the endpoint, of 80 bits in base 32.
func namesOf(n service.PortName, hash func(string) string) chainNames {
	id := n.String() + strings.ToLower(string(n.Protocol))
	h := hash(id)
	return chainNames{
		cluster:  "KUBE-SVC-" + h,
		local:    "KUBE-SVL-" + h,
		external: "KUBE-EXT-" + h,
		firewall: "KUBE-FW-" + h,
		host:     hostPortPrefix + h,
		endpoint: func(t service.Target) string { return "KUBE-SEP-" + hash(id+t.String()) },
	}
}

func hash(s string) string {
	sum := sha256.Sum256([]byte(s))
	return base32.StdEncoding.EncodeToString(sum[:10])
}
