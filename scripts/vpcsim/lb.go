package main

import (
	"cmp"
	"fmt"
	"io"
	"net/netip"
	"strconv"
	"strings"
	"text/tabwriter"

	"github.com/spf13/cobra"

	"github.com/causeway-cni/causeway/scripts/vpcsim/control"
)

func newLB(s *simulatorFlag) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "lb",
		Short: "Balance load: network and application load balancers",
		Long: `Balance load as Elastic Load Balancing does.

A balancer has one address in each of its subnets, and a public one besides if
it is internet-facing. A network load balancer (nlb) translates TCP and UDP
flows; an application load balancer (alb) is an HTTP proxy. Targets are nodes
(at the primary address of their first interface) or addresses, such as pods.

For a real cluster scripts/vpcsim/controller makes them, of Services and Ingresses
with the annotations of the AWS Load Balancer Controller.

Targets get flows once they are healthy. With AWS's defaults that takes five
checks of 30 s; give --check something shorter for experiments.

  initial    registered, not yet found healthy or unhealthy
  healthy    gets new flows
  unhealthy  gets none, unless no target that the address may use is healthy
  draining   deregistered: keeps its flows, gets no new ones
  unused     its zone or group is not in use, or its node is terminated`,
		Example: `  vpcsim lb create web --internet-facing --listen TCP:80=30080 --target n1 --target n2
  vpcsim lb create pods --type alb --target-type ip --listen HTTP:80=8080 --target 10.0.0.77
  vpcsim lb create quick --listen TCP:80=30080 --target n1 --check '{interval: 1s, healthyThreshold: 2}'
  vpcsim lb create -f balancer.yaml
  vpcsim lb health web
  vpcsim lb deregister web n1
  vpcsim lb delete web`,
	}
	cmd.AddCommand(newLBCreate(s), newLBDelete(s), newLBList(s), newLBHealth(s),
		newLBChange(s, "register", "Add targets to a group", "They get flows once they are healthy. A target that drains begins anew.", false),
		newLBChange(s, "deregister", "Take targets out of a group", "They keep their flows while they drain, and get no new ones.", true))
	return cmd
}

func newLBDelete(s *simulatorFlag) *cobra.Command {
	return &cobra.Command{
		Use:   "delete NAME",
		Short: "Delete a load balancer; its flows end",
		Args:  cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			client, err := s.client()
			if err != nil {
				return err
			}
			return client.DeleteBalancer(cmd.Context(), args[0])
		},
	}
}

func newLBList(s *simulatorFlag) *cobra.Command {
	var asJSON bool
	cmd := &cobra.Command{
		Use:   "list",
		Short: "Show the load balancers, their addresses and listeners",
		Args:  cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			client, err := s.client()
			if err != nil {
				return err
			}
			all, err := client.Balancers(cmd.Context())
			if err != nil {
				return err
			}
			if asJSON {
				return printJSON(cmd.OutOrStdout(), all)
			}
			w := tabwriter.NewWriter(cmd.OutOrStdout(), 0, 0, 2, ' ', 0)
			printBalancers(w, all)
			return w.Flush()
		},
	}
	cmd.Flags().BoolVar(&asJSON, "json", false, "print JSON")
	return cmd
}

// printBalancers writes one line for each address of each balancer.
func printBalancers(w io.Writer, all []control.BalancerStatus) {
	fmt.Fprintln(w, "BALANCER\tTYPE\tSCHEME\tZONE\tADDRESS\tPUBLIC\tLISTENERS")
	for _, b := range all {
		var listeners []string
		for _, l := range b.Listeners {
			listeners = append(listeners, fmt.Sprintf("%s:%d=%s", l.Protocol, l.Port, l.TargetGroup))
		}
		for _, z := range b.Zones {
			public := "-"
			if z.Public.IsValid() {
				public = z.Public.String()
			}
			fmt.Fprintf(w, "%s\t%s\t%s\t%s\t%s\t%s\t%s\n", b.Name, b.Type, b.Scheme, z.Zone, z.Address, public, strings.Join(listeners, " "))
		}
	}
}

func newLBHealth(s *simulatorFlag) *cobra.Command {
	var asJSON bool
	cmd := &cobra.Command{
		Use:   "health [NAME]",
		Short: "Show the targets of a load balancer, or of all, and why they are as they are",
		Args:  cobra.MaximumNArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			client, err := s.client()
			if err != nil {
				return err
			}
			targets, err := client.TargetHealth(cmd.Context(), strings.Join(args, ""))
			if err != nil {
				return err
			}
			if asJSON {
				return printJSON(cmd.OutOrStdout(), targets)
			}
			w := tabwriter.NewWriter(cmd.OutOrStdout(), 0, 0, 2, ' ', 0)
			fmt.Fprintln(w, "BALANCER\tGROUP\tTARGET\tZONE\tSTATE\tREASON\tDESCRIPTION")
			for _, t := range targets {
				fmt.Fprintf(w, "%s\t%s\t%s\t%s\t%s\t%s\t%s\n", t.Balancer, t.Group, targetText(t), cmp.Or(t.Zone, "all"),
					t.State, cmp.Or(t.Reason, "-"), cmp.Or(t.Description, "-"))
			}
			return w.Flush()
		},
	}
	cmd.Flags().BoolVar(&asJSON, "json", false, "print JSON")
	return cmd
}

// targetText is the name of a target's node and where it is reached.
func targetText(t control.TargetHealth) string {
	switch {
	case t.Target.Node == "":
		return netip.AddrPortFrom(t.Target.Address, t.Target.Port).String()
	case t.Endpoint.IsValid():
		return fmt.Sprintf("%s (%s)", t.Target.Node, t.Endpoint)
	}
	return fmt.Sprintf("%s:%d", t.Target.Node, t.Target.Port)
}

func newLBChange(s *simulatorFlag, verb, short, long string, leave bool) *cobra.Command {
	var group string
	cmd := &cobra.Command{
		Use:     verb + " NAME TARGET...",
		Short:   short,
		Long:    short + ", written as NODE[:PORT] or ADDRESS[:PORT].\n" + long,
		Example: "  vpcsim lb " + verb + " web n1 n2:30081",
		Args:    cobra.MinimumNArgs(2),
		RunE: func(cmd *cobra.Command, args []string) error {
			targets, err := parseTargets(args[1:])
			if err != nil {
				return err
			}
			client, err := s.client()
			if err != nil {
				return err
			}
			change := control.TargetChange{Balancer: args[0], Group: group, Targets: targets}
			if leave {
				return client.DeregisterTargets(cmd.Context(), change)
			}
			return client.RegisterTargets(cmd.Context(), change)
		},
	}
	cmd.Flags().StringVar(&group, "group", "", "target group (default: the balancer's first)")
	return cmd
}

// parseTargets reads NODE[:PORT] and ADDRESS[:PORT].
func parseTargets(texts []string) ([]control.Target, error) {
	var out []control.Target
	for _, text := range texts {
		var t control.Target
		host, port, ported := strings.Cut(text, ":")
		if ported {
			n, err := parsePort(port)
			if err != nil {
				return nil, fmt.Errorf("target %q: %w", text, err)
			}
			t.Port = n
		}
		if addr, err := netip.ParseAddr(host); err == nil {
			t.Address = addr
		} else {
			t.Node = host
		}
		out = append(out, t)
	}
	return out, nil
}

func parsePort(text string) (uint16, error) {
	n, err := strconv.ParseUint(text, 10, 16)
	if err != nil || n == 0 {
		return 0, fmt.Errorf("port %q: it lies between 1 and 65535", text)
	}
	return uint16(n), nil
}
