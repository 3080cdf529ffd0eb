package iptables

import (
	"net"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/causeway-cni/causeway/proxy/internal/nstest"
)

// TestKubeProxyCleansUp has kube-proxy start in nftables mode, after it ran in
// iptables mode beside us or not: it takes away what it had, and services are
// served as before until ours go.
func TestKubeProxyCleansUp(t *testing.T) {
	eachLab(t, func(t *testing.T, l *lab) {
		l.put("0", l.balanced)
		l.node.Run(l.backend.program, "-w", "-t", "mangle", "-S") // legacy makes the table that is asked for
		want := ruleText(l.node.Run(l.backend.program + "-save"))
		kubeProxy := nstest.KubeProxy{Namespace: l.node, Program: l.backend.program}
		for _, when := range []string{"alone", "beside kube-proxy"} {
			if when != "alone" {
				kubeProxy.EnsureJumps()
				l.serves("both")
			}
			log := kubeProxy.CleanLeftovers()
			for _, table := range []string{"nat: ", "filter: "} {
				if !strings.Contains(log, table) {
					t.Errorf("%s: in %sit met nothing of ours", when, table)
				}
			}
			if diff := cmp.Diff(want, ruleText(l.node.Run(l.backend.program+"-save"))); diff != "" {
				t.Errorf("%s: rules (-before +after):\n%s", when, diff)
			}
			l.serves(when)
		}
	})
}

// serves wants the service ns/web of the first pod served, to insiders and to
// outsiders, whose addresses it translates once.
func (l *lab) serves(when string) {
	l.t.Helper()
	l.want(when+": pod to cluster IP", l.pods[1], net.JoinHostPort(l.at.vip, "80"), "pod0 sees "+l.at.pods[1])
	l.want(when+": node to cluster IP", l.node, net.JoinHostPort(l.at.vip, "80"), "pod0 sees "+l.at.node)
	l.want(when+": hairpin", l.pods[0], net.JoinHostPort(l.at.vip, "80"), "pod0 sees "+l.at.node)
	l.want(when+": client to node port", l.client, net.JoinHostPort(l.at.node, "30080"), "pod0 sees "+l.at.node)
}

// TestJumpsChangeHands takes services over from kube-proxy, or from a version of
// ours that had its jumps, and gives them back: each has its jumps before the
// other's go.
func TestJumpsChangeHands(t *testing.T) {
	eachLab(t, func(t *testing.T, l *lab) {
		program := l.backend.program
		kubeProxy := nstest.KubeProxy{Namespace: l.node, Program: program}
		kubeProxy.EnsureJumps()
		l.reopen()
		l.put("0", l.balanced)
		jumps := func(when string, ours, theirs int) {
			t.Helper()
			l.serves(when)
			saved := l.node.Run(program + "-save")
			if got := strings.Count(saved, `"Causeway, `); got != ours {
				t.Errorf("%s: %d jumps of ours, want %d", when, got, ours)
			}
			got := 0
			for line := range strings.Lines(saved) {
				if strings.Contains(line, `"kubernetes `) && !strings.HasPrefix(line, "-A KUBE-") {
					got++
				}
			}
			if got != theirs {
				t.Errorf("%s: %d jumps of kube-proxy, want %d", when, got, theirs)
			}
		}
		remove := func(what func() (Removed, error)) (did Removed) {
			t.Helper()
			l.node.Do(func() {
				var err error
				if did, err = what(); err != nil {
					t.Fatal(err)
				}
			})
			return did
		}
		theirs := func() (Removed, error) { return l.backend.RemoveKubeProxy(t.Context()) }
		ours := func() (Removed, error) { return l.backend.RemoveOurs(t.Context()) }

		jumps("written", 12, 12)
		if did := remove(theirs); did.Jumps != 12 || did.Chains != 0 {
			t.Errorf("taking over: %+v, want 12 jumps", did)
		}
		jumps("taken over", 12, 0)
		if did := remove(theirs); did != (Removed{}) {
			t.Errorf("taking over again: %+v", did)
		}
		for _, table := range []string{"mangle", "nat", "filter"} {
			l.node.Run(program, "-w", "-t", table, "-N", "KUBE-PROXY-CANARY")
		}
		if did := remove(ours); did.Jumps != 0 || did.Chains != 0 {
			t.Errorf("given up before kube-proxy has jumps: %+v", did)
		}
		kubeProxy.EnsureJumps()
		jumps("kube-proxy started", 12, 12)
		l.reopen()
		if n := l.put("0", l.balanced); n != 0 {
			t.Errorf("kube-proxy started: %d chains written", n)
		}
		jumps("looked again", 12, 12)
		if did := remove(ours); did.Jumps != 12 || did.Chains != 0 {
			t.Errorf("giving up: %+v, want 12 jumps", did)
		}
		jumps("given up", 0, 12)
	})
}
