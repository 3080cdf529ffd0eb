package ruleset

import (
	"net/netip"
	"strings"
	"testing"

	"github.com/causeway-cni/causeway/proxy/service"
)

// hostPort is a port of the node that leads to port 8080 of a pod.
func hostPort(name, at string, number uint16, pod string) service.ServicePort {
	p := service.ServicePort{
		Name:     service.PortName{Key: service.Key{Namespace: "ns", Name: name}, Port: "web", Protocol: service.TCP},
		Family:   service.FamilyOf(addr(pod)),
		HostPort: service.HostPort{Port: number}, External: service.Local, Anywhere: true,
		LocalOnly: []service.Target{{AddrPort: netip.AddrPortFrom(addr(pod), 8080), Local: true}},
	}
	if at != "" {
		p.HostPort.Addr = addr(at)
	}
	p.Cluster = p.LocalOnly
	return p
}

// TestHostPortsGolden is host ports beside a service with a node port.
func TestHostPortsGolden(t *testing.T) {
	s, slices := object(1, "node", "10.0.0.1* 10.0.0.2", nodePort(30002))
	tr := service.NewTracker()
	tr.SetNode(service.Node{Name: here})
	tr.SetService(s)
	tr.SetSlice(slices[0])
	ports, err := tr.Resolve(s.Key)
	if err != nil {
		t.Fatal(err)
	}
	ports = append(ports, hostPort("pod-a", "", 8443, "10.0.0.1"), hostPort("pod-b", "192.168.1.50", 9443, "10.0.0.2"))
	var all []ServiceRules
	for _, p := range ports {
		all = append(all, Compile(p, lan()))
	}
	golden(t, "services-host-ports", Services(lan(), all).String())
}

// TestHostPortsComeAndGo holds that the chain of host ports is there only while
// there are any, after a restart as before.
func TestHostPortsComeAndGo(t *testing.T) {
	k := kernel{}
	ledger := NewLedger(lan(), k.held(t, lan()))
	write := func() string {
		t.Helper()
		b := ledger.Batch(0)
		if err := k.restore(input(b)); err != nil {
			t.Fatalf("%v in\n%s", err, input(b))
		}
		ledger.Done(b)
		return input(b)
	}
	pod := hostPort("pod", "", 8443, "10.0.0.1")
	if first := write(); strings.Contains(first, kubeHostPorts) {
		t.Errorf("%s without host ports:\n%s", kubeHostPorts, first)
	}
	if err := ledger.Set(pod); err != nil {
		t.Fatal(err)
	}
	write()
	if !has(k["nat"], kubeHostPorts) {
		t.Errorf("no %s with a host port", kubeHostPorts)
	}
	ledger = NewLedger(lan(), k.held(t, lan()))
	write()
	for chain := range k["nat"] {
		if chain == kubeHostPorts || ofService(chain) {
			t.Errorf("%s is left over", chain)
		}
	}
}
