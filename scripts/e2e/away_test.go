package e2e

import (
	"fmt"
	"net/netip"
	"strings"
	"testing"
	"time"
)

// TestDelWhileAway deletes pods, one of them without its namespace, while the
// daemon is dead: the host is cleaned, and the daemon reads the notes later.
func TestDelWhileAway(t *testing.T) {
	t.Parallel()
	s := raise(t, small)
	node := s.start("n1")
	pods := s.addUntil(node, 1)
	stays, gone, last := pods[0], pods[1], pods[len(pods)-1]
	s.must(node.Daemon().Kill())
	gone.StopServing()
	s.must(gone.Remove(s.ctx))
	s.must(gone.Del(s.ctx))
	s.must(last.Del(s.ctx))
	s.must(last.Del(s.ctx)) // runtimes delete twice
	if notes := s.notes(node); len(notes) != 2 {
		t.Errorf("notes %q, want 2", notes)
	}
	for _, p := range pods[1:] {
		if left := s.traces(node, p.IP.String()); (p == gone || p == last) && len(left) > 0 {
			t.Errorf("DEL of %s leaves\n%s", p.Name, strings.Join(left, "\n"))
		}
	}
	s.reach(stays)

	s.start("n1")
	s.within(6*time.Second, func() error {
		if notes := s.notes(node); len(notes) > 0 {
			return fmt.Errorf("notes are left: %q", notes)
		}
		book := s.book(node)
		for _, p := range pods[1:] {
			if e := book[p.IP.String()]; (p == gone || p == last) && e.State != "cooling" {
				return fmt.Errorf("%s was released by a note, and is %+v", p.IP, e)
			}
		}
		return nil
	})
	s.reach(stays)
	if e := s.book(node)[stays.IP.String()]; e.State != "assigned" {
		t.Errorf("the pod that stays: %+v", e)
	}
}

// TestCoolDown restarts the daemon just after a release, with no other address
// to be had: the one that was released is handed out when it has rested.
func TestCoolDown(t *testing.T) {
	t.Parallel()
	s := raise(t, small)
	const rest = 5 * time.Second
	env := []string{"IP_COOLDOWN_PERIOD=5", "MAX_ENI=1"}
	node := s.start("n1", env...)
	first := s.add(node, "pod1")
	s.add(node, "pod2")
	s.add(node, "pod3")
	released := time.Now()
	s.must(first.Del(s.ctx))
	s.restart(node, env...)
	again := s.add(node, "pod4")
	if again.IP != first.IP {
		t.Errorf("pod4 has %s, want the only address that was left, %s", again.IP, first.IP)
	}
	if rested := time.Since(released); rested < rest {
		t.Errorf("%s was handed out %s after its release, want %s at least", first.IP, rested, rest)
	}
	s.reach(again)
}

// TestStop ends the daemon as an operator would; pods keep their network.
func TestStop(t *testing.T) {
	t.Parallel()
	s := raise(t, small)
	node := s.start("n1")
	pods := s.addUntil(node, 1)
	s.must(node.Daemon().Stop())
	s.reach(pods...)
	outside := netip.MustParseAddrPort("203.0.113.10:7")
	for _, p := range pods {
		if _, err := p.Probe(s.ctx, "udp", outside, 1); err != nil {
			t.Errorf("%s to the internet: %v", p.Name, err)
		}
	}
	s.start("n1")
	for _, p := range pods {
		s.must(p.Check(s.ctx))
	}
	s.reach(pods...)
}

// TestBadSettings refuses what cannot be carried out, all at once.
func TestBadSettings(t *testing.T) {
	t.Parallel()
	s := raise(t, small)
	d, err := s.lab.Node("n1").StartIpamd("AWS_VPC_ENI_MTU=12", "ENABLE_POD_ENI=true")
	s.must(err)
	s.within(10*time.Second, func() error {
		if !d.Ended() {
			return fmt.Errorf("ipamd runs")
		}
		return nil
	})
	if err := d.Wait(s.ctx); err == nil {
		t.Error("ipamd ended as if all were well")
	}
	for _, words := range [][]string{{"AWS_VPC_ENI_MTU", `"12"`, "576..9001 bytes"}, {"ENABLE_POD_ENI", `"true"`, "only false"}} {
		if !containsLine(d.Tail(), words) {
			t.Errorf("no line with %q in:\n%s", words, d.Tail())
		}
	}
}

func containsLine(text string, words []string) bool {
	for _, line := range strings.Split(text, "\n") {
		all := true
		for _, w := range words {
			all = all && strings.Contains(line, w)
		}
		if all {
			return true
		}
	}
	return false
}
