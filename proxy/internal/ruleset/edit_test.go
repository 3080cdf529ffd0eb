package ruleset

import (
	"fmt"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/causeway-cni/causeway/proxy/service"
)

// TestEdits holds that a service more or less changes its own lines of a common
// chain, at their places, and that many write it anew.
func TestEdits(t *testing.T) {
	k := kernel{}
	ledger := NewLedger(lan(), k.held(t, lan()))
	port := func(i int) service.ServicePort {
		p := hostPort(fmt.Sprintf("svc-%02d", i), "", 8443, "10.0.0.1")
		p.HostPort = service.HostPort{}
		p.ClusterIP, p.Port = addr(fmt.Sprintf("10.100.0.%d", i)), 80
		return p
	}
	// write returns the lines that change nat's KUBE-SERVICES.
	write := func() []string {
		t.Helper()
		b := ledger.Batch(0)
		text := input(b)
		if err := k.restore(text); err != nil {
			t.Fatalf("%v in\n%s", err, text)
		}
		ledger.Done(b)
		var lines []string
		for line := range strings.Lines(text) {
			if strings.Contains(line, " KUBE-SERVICES ") && !strings.Contains(line, "portals") {
				command, _, _ := strings.Cut(line, " -m comment")
				lines = append(lines, command)
			}
		}
		return lines
	}
	for i := range 50 {
		ledger.Set(port(2 * i))
	}
	if n := len(write()); n != 51 {
		t.Errorf("first: %d lines, want 51", n)
	}
	ledger.Set(port(5))
	ledger.Set(port(7))
	ledger.Delete(port(6).Name)
	got := write()
	want := []string{
		"-I KUBE-SERVICES 4 -d 10.100.0.5/32 -p tcp",
		"-D KUBE-SERVICES -d 10.100.0.6/32 -p tcp",
		"-I KUBE-SERVICES 5 -d 10.100.0.7/32 -p tcp",
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("three services (-want +got):\n%s", diff)
	}
	for i := range 40 {
		ledger.Delete(port(2 * i).Name)
	}
	if got := write(); !strings.HasPrefix(got[0], "-A") {
		t.Errorf("40 services: %s, want the chain written anew", got[0])
	}
}
