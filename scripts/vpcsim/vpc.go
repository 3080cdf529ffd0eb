package main

import (
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"text/tabwriter"

	"github.com/spf13/cobra"
)

func newDrops(s *simulatorFlag) *cobra.Command {
	var asJSON bool
	cmd := &cobra.Command{
		Use:   "drops",
		Short: "Show the packets that the VPC refused to carry",
		Long: `Show the packets that the VPC refused to carry, per interface and reason:
  source-address     the source is not an address of the interface that sent it
                     (source/destination check)
  source-mac         the frame has not the interface's MAC
  no-public-address  sent to the internet gateway without a public address
A node that is set up well has none.`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			client, err := s.client()
			if err != nil {
				return err
			}
			drops, err := client.Drops(cmd.Context())
			if err != nil {
				return err
			}
			if asJSON {
				return printJSON(cmd.OutOrStdout(), drops)
			}
			w := tabwriter.NewWriter(cmd.OutOrStdout(), 0, 0, 2, ' ', 0)
			fmt.Fprintln(w, "NODE\tENI\tREASON\tPACKETS\tBYTES")
			for _, d := range drops {
				fmt.Fprintf(w, "%s\t%s\t%s\t%d\t%d\n", d.Node, d.ENI, d.Reason, d.Packets, d.Bytes)
			}
			return w.Flush()
		},
	}
	cmd.Flags().BoolVar(&asJSON, "json", false, "print JSON")
	return cmd
}

func newCIDR(s *simulatorFlag) *cobra.Command {
	cmd := &cobra.Command{Use: "cidr", Short: "Change the VPC's address blocks"}
	cmd.AddCommand(&cobra.Command{
		Use:     "add BLOCK",
		Short:   "Give the VPC a further IPv4 block",
		Example: "  vpcsim cidr add 100.64.0.0/16",
		Args:    cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			block, err := netip.ParsePrefix(args[0])
			if err != nil {
				return fmt.Errorf("block %q is not a CIDR: write it like 100.64.0.0/16", args[0])
			}
			client, err := s.client()
			if err != nil {
				return err
			}
			return client.AddCIDR(cmd.Context(), block)
		},
	})
	return cmd
}

func newEgress(s *simulatorFlag) *cobra.Command {
	kinds := []string{"igw", "nat", "none"}
	return &cobra.Command{
		Use:       "egress SUBNET igw|nat|none",
		Short:     "Change a subnet's default route",
		Args:      cobra.ExactArgs(2),
		ValidArgs: kinds,
		RunE: func(cmd *cobra.Command, args []string) error {
			if !slices.Contains(kinds, args[1]) {
				return fmt.Errorf("egress %q is unknown: use one of %s", args[1], strings.Join(kinds, ", "))
			}
			client, err := s.client()
			if err != nil {
				return err
			}
			return client.SetEgress(cmd.Context(), args[0], args[1])
		},
	}
}

func newTerminate(s *simulatorFlag) *cobra.Command {
	return &cobra.Command{
		Use:   "terminate NODE",
		Short: "Terminate a node's instance",
		Args:  cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			client, err := s.client()
			if err != nil {
				return err
			}
			return client.Terminate(cmd.Context(), args[0])
		},
	}
}
