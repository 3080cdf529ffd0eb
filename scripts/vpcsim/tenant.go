package main

import (
	"fmt"
	"strconv"
	"time"

	"github.com/spf13/cobra"

	"github.com/causeway-cni/causeway/scripts/vpcsim/control"
)

func newTenant(s *simulatorFlag) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "tenant",
		Short: "Let others take a subnet's addresses and give them back",
		Long: `Let other tenants of a subnet take its IPv4 addresses and give them back. EC2
shows of them only that the addresses are not free. In a topology, a subnet
says who else is there from the start:
  subnets: [{name: a, cidr: 10.0.0.0/22, tenants: {free: 500}}]
has no free /28 and 500 free addresses. See also the effect "exhaust" of
"vpcsim fault rules", which takes the last addresses just before a call.`,
		Example: `  vpcsim tenant take a 100
  vpcsim tenant take a all --for 2m
  vpcsim tenant take b 64 --pattern packed
  vpcsim tenant fragment a
  vpcsim tenant give a all`,
	}
	cmd.AddCommand(newTake(s), newFragment(s), newGive(s))
	return cmd
}

func newTake(s *simulatorFlag) *cobra.Command {
	var pattern string
	var length time.Duration
	cmd := &cobra.Command{
		Use:   "take SUBNET COUNT|all",
		Short: "Take free addresses",
		Long: `Take free addresses: scattered, each from the /28 that has most free, so that
no prefix is left while there are addresses; or packed, from the lowest up, so
that as many prefixes are left as can be.`,
		Args: cobra.ExactArgs(2),
		RunE: func(cmd *cobra.Command, args []string) error {
			count, err := addresses(args[1])
			if err != nil {
				return err
			}
			if length < 0 {
				return fmt.Errorf("--for %v: use a positive length of time, or 0 to keep them", length)
			}
			client, err := s.client()
			if err != nil {
				return err
			}
			free, err := client.Take(cmd.Context(), control.Tenants{
				Subnet: args[0], Addresses: count, Pattern: control.Pattern(pattern), For: control.Duration(length),
			})
			return printFree(cmd, args[0], free, err)
		},
	}
	cmd.Flags().StringVar(&pattern, "pattern", string(control.Scattered), "scattered or packed")
	cmd.Flags().DurationVar(&length, "for", 0, "give them back after so long; 0 keeps them")
	return cmd
}

func newFragment(s *simulatorFlag) *cobra.Command {
	return &cobra.Command{
		Use:   "fragment SUBNET",
		Short: "Take one address of every free /28, so that no prefix is left",
		Args:  cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			client, err := s.client()
			if err != nil {
				return err
			}
			free, err := client.Fragment(cmd.Context(), args[0])
			return printFree(cmd, args[0], free, err)
		},
	}
}

func newGive(s *simulatorFlag) *cobra.Command {
	return &cobra.Command{
		Use:   "give SUBNET COUNT|all",
		Short: "Give addresses back, the last taken first",
		Args:  cobra.ExactArgs(2),
		RunE: func(cmd *cobra.Command, args []string) error {
			count, err := addresses(args[1])
			if err != nil {
				return err
			}
			client, err := s.client()
			if err != nil {
				return err
			}
			free, err := client.Give(cmd.Context(), args[0], count)
			return printFree(cmd, args[0], free, err)
		},
	}
}

// addresses reads a number of addresses, -1 for all.
func addresses(text string) (int, error) {
	if text == "all" {
		return -1, nil
	}
	count, err := strconv.Atoi(text)
	if err != nil || count < 1 {
		return 0, fmt.Errorf("count %q: use a positive number or all", text)
	}
	return count, nil
}

func printFree(cmd *cobra.Command, subnet string, free int, err error) error {
	if err != nil {
		return err
	}
	_, err = fmt.Fprintf(cmd.OutOrStdout(), "subnet %s has %d free addresses\n", subnet, free)
	return err
}
