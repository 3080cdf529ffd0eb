package e2e

import (
	"errors"
	"fmt"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/containernetworking/cni/pkg/types"
)

const outage = `{action: IMDS, effect: {hang: true}}`

// TestIMDSAwayAtFirstStart starts on a node that cannot know which instance it
// is: the daemon says so, and serves when the metadata service is there.
func TestIMDSAwayAtFirstStart(t *testing.T) {
	t.Parallel()
	s := raise(t, small)
	s.faults(outage)
	node := s.lab.Node("n1")
	d, err := node.StartIpamd()
	s.must(err)
	s.within(10*time.Second, func() error {
		text, err := os.ReadFile(d.Log)
		if err == nil && !strings.Contains(string(text), "metadata service") {
			err = fmt.Errorf("the log does not say what the daemon waits for:\n%s", text)
		}
		return err
	})
	var refusal *types.Error
	if err := node.CNIStatus(s.ctx); !errors.As(err, &refusal) || refusal.Code != types.ErrPluginNotAvailable {
		t.Errorf("STATUS: %v, want code %d", err, types.ErrPluginNotAvailable)
	}
	s.must(s.lab.Control.ClearFaults(s.ctx))
	s.must(node.AwaitReady(s.ctx))
	s.add(node, "pod1")
}

// TestIMDSAway loses the metadata service while the daemon runs: addresses that
// are there are handed out.
func TestIMDSAway(t *testing.T) {
	t.Parallel()
	s := raise(t, small)
	node := s.start("n1")
	pods := s.addUntil(node, 1)
	s.faults(outage)
	s.must(s.lab.Control.DropTokens(s.ctx))
	s.reach(append(pods, s.add(node, "late"))...)
}

// TestIMDSAwayAtRestart loses the metadata service, and with it the credentials
// for EC2, while the daemon restarts: pods keep their network, can be checked,
// deleted and added from what the node has, and more when the service is back.
func TestIMDSAwayAtRestart(t *testing.T) {
	t.Parallel()
	s := raise(t, small)
	node := s.start("n1")
	pods := s.addUntil(node, 1)
	s.faults(outage)
	s.must(node.Daemon().Kill())
	s.start("n1")
	s.must(pods[0].Del(s.ctx))
	s.within(6*time.Second, func() error {
		if e := s.book(node)[pods[0].IP.String()]; e.State != "cooling" {
			return fmt.Errorf("the address of the deleted pod: %+v", e)
		}
		return nil
	})
	pods = pods[1:]
	for _, p := range pods {
		s.must(p.Check(s.ctx))
	}
	s.reach(pods...)
	last := pods[len(pods)-1]
	s.shell(node, "ip rule del priority 1536 from "+last.IP.String())
	s.within(2*time.Second, func() error { return last.Check(s.ctx) })
	pods = append(pods, s.add(node, "late"))
	s.must(s.lab.Control.ClearFaults(s.ctx))
	for i := range 3 {
		pods = append(pods, s.add(node, fmt.Sprintf("later%d", i+1)))
	}
	s.reach(pods...)
}

// TestIMDSStale lets the metadata service show changes half a minute late,
// which nobody waits for.
func TestIMDSStale(t *testing.T) {
	t.Parallel()
	s := raise(t, small)
	s.faults(`
- {action: "A*", effect: {imdsLag: 30s}}
- {action: "CreateNetworkInterface", effect: {imdsLag: 30s}}`)
	node := s.start("n1")
	began := time.Now()
	pods := s.addUntil(node, 1)
	if took := time.Since(began); took > 20*time.Second {
		t.Errorf("%d pods took %s", len(pods), took)
	}
	s.restart(node)
	s.reach(append(pods, s.add(node, "late"))...)
}
