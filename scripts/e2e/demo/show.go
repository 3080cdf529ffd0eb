package main

import (
	"context"
	"fmt"
	"regexp"
	"strings"

	"github.com/causeway-cni/causeway/scripts/e2e/harness"
	"github.com/causeway-cni/causeway/scripts/e2e/walks"
)

// tables shows a pod's and a node's network in the words of `ip`.
func (o options) tables(ctx context.Context, w *walks.World) error {
	pod := w.N1.P2
	say("\n--- inside pod %s, on the secondary ENI", pod.Name)
	for _, args := range []string{"-brief addr show dev eth0", "route", "neigh show nud permanent"} {
		out, err := pod.Exec(ctx, append([]string{"ip"}, strings.Fields(args)...)...)
		if err != nil {
			return err
		}
		show("ip "+args, out)
	}
	say("\n--- on node %s", w.N1.Node.Name)
	snat := "iptables -t nat -S AWS-SNAT-CHAIN-0"
	if o.mode == "nftables" {
		snat = "nft list chain inet causeway external-snat"
	}
	for _, command := range []string{"ip route", "ip route show table 2", "ip rule", snat} {
		if err := run(ctx, w.N1, command); err != nil {
			return err
		}
	}
	return nil
}

func show(command, out string) {
	say("$ %s", command)
	for _, line := range strings.Split(strings.TrimRight(out, "\n"), "\n") {
		say("  %s", strings.TrimRight(line, " "))
	}
}

// service makes a service that stays, calls it, and shows its rules with the
// tools that operators use.
func (o options) service(ctx context.Context, w *walks.World) error {
	web, err := w.Lab.Serve(ctx, harness.Service{Name: "web", Pods: []*harness.Pod{w.N1.P1, w.N1.P2, w.N2.P1}})
	if err != nil {
		return err
	}
	if _, err := w.N1.Other1.Probe(ctx, "tcp", web.ClusterIP, 12); err != nil {
		return err
	}
	say("\n--- service web at %s with three pods, after 12 connections", web.ClusterIP)
	if o.mode == "nftables" {
		return run(ctx, w.N1, "nft list map inet causeway service-ips")
	}
	out, err := w.N1.Node.Exec(ctx, "iptables", "-t", "nat", "-nvL", "KUBE-SERVICES")
	if err != nil {
		return err
	}
	show("iptables -t nat -nvL KUBE-SERVICES", out)
	chain := webChain.FindStringSubmatch(out)
	if chain == nil {
		return fmt.Errorf("KUBE-SERVICES has no chain of service web")
	}
	return run(ctx, w.N1, "iptables -t nat -nvL "+chain[1])
}

var webChain = regexp.MustCompile(`(KUBE-SVC-\w+).*default/web:tcp cluster IP`)

// run runs a command on a node and shows what it prints.
func run(ctx context.Context, s *walks.Site, command string) error {
	out, err := s.Node.Exec(ctx, strings.Fields(command)...)
	if err != nil {
		return err
	}
	show(command, out)
	return nil
}
