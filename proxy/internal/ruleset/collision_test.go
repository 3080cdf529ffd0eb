package ruleset

import (
	"strings"
	"testing"

	"github.com/causeway-cni/causeway/proxy/service"
)

// TestCollision makes two services' names alike, and wants the second refused
// by name until the first is gone.
func TestCollision(t *testing.T) {
	k := kernel{}
	ledger := NewLedger(lan(), k.held(t, lan()))
	ledger.hash = func(s string) string {
		if strings.HasPrefix(s, "ns/second") {
			s = strings.Replace(s, "second", "first", 1)
		}
		return hash(s)
	}
	port := func(name string) service.ServicePort {
		p := hostPort(name, "", 8443, "10.0.0.1")
		p.HostPort = service.HostPort{}
		p.ClusterIP, p.Port = addr("10.100.0.1"), 80
		return p
	}
	first, second := port("first"), port("second")
	if err := ledger.Set(first); err != nil {
		t.Fatal(err)
	}
	err := ledger.Set(second)
	if err == nil || !strings.Contains(err.Error(), "ns/second:web TCP: chain KUBE-") || !strings.Contains(err.Error(), "ns/first:web TCP") {
		t.Errorf("error %v, want both named", err)
	}
	write := func() {
		t.Helper()
		b := ledger.Batch(0)
		if err := k.restore(input(b)); err != nil {
			t.Fatalf("%v in\n%s", err, input(b))
		}
		ledger.Done(b)
	}
	write()
	if text := strings.Join(k["nat"][kubeServices], "\n"); !strings.Contains(text, "ns/first") || strings.Contains(text, "ns/second") {
		t.Errorf("want the first only:\n%s", text)
	}
	ledger.Delete(first.Name)
	if err := ledger.Set(second); err != nil {
		t.Errorf("alone: %v", err)
	}
	write()
	if text := strings.Join(k["nat"][kubeServices], "\n"); strings.Contains(text, "ns/first") || !strings.Contains(text, "ns/second") {
		t.Errorf("want the second only:\n%s", text)
	}
}

// TestCollisionOfEndpoints makes the names of two endpoints alike.
func TestCollisionOfEndpoints(t *testing.T) {
	ledger := NewLedger(lan(), kernel{}.held(t, lan()))
	ledger.hash = func(s string) string { return hash(strings.Replace(s, "10.0.0.2", "10.0.0.1", 1)) }
	p := hostPort("web", "", 8443, "10.0.0.1")
	p.LocalOnly = append(p.LocalOnly, hostPort("web", "", 8443, "10.0.0.2").LocalOnly...)
	err := ledger.Set(p)
	if err == nil || !strings.Contains(err.Error(), "ns/web:web TCP: two of its endpoints have chain KUBE-SEP-") {
		t.Errorf("error %v, want the service and the chain named", err)
	}
}
