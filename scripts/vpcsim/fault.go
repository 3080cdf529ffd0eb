package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"text/tabwriter"

	"github.com/spf13/cobra"

	"github.com/causeway-cni/causeway/scripts/vpcsim/control"
)

func newFault(s *simulatorFlag) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "fault",
		Short: "Make requests go wrong",
		Long: `Make EC2, metadata and Kubernetes requests go wrong, by rules: which calls a rule is about
(node, action, which of them, when) and what happens to them (effect). "vpcsim
fault rules" tells all that a rule can say.`,
		Example: `  vpcsim fault add '{node: n1, action: AssignPrivateIpAddresses, effect: {throttle: true}}'
  vpcsim fault add '{action: AttachNetworkInterface, nth: 1, effect: {lost: true}}'
  vpcsim fault add '{action: device, effect: {deviceDelay: 20s}}'
  vpcsim fault add '{action: Kubernetes, effect: {away: true}}'
  vpcsim fault add -f rules.yaml
  vpcsim fault list
  vpcsim fault clear f1`,
	}
	cmd.AddCommand(newFaultAdd(s), newFaultList(s), newFaultClear(s), newFaultRules())
	return cmd
}

func newFaultAdd(s *simulatorFlag) *cobra.Command {
	var file string
	cmd := &cobra.Command{
		Use:   "add [-f FILE] [RULE...]",
		Short: "Put rules in force and print their ids",
		Long: `Put rules in force, written as YAML or JSON, and print their ids. What a rule
can say is told by "vpcsim fault rules".`,
		RunE: func(cmd *cobra.Command, args []string) error {
			rules, err := readRules(file, args)
			if err != nil {
				return err
			}
			client, err := s.client()
			if err != nil {
				return err
			}
			ids, err := client.AddFaults(cmd.Context(), rules...)
			if err != nil {
				return err
			}
			_, err = fmt.Fprintln(cmd.OutOrStdout(), strings.Join(ids, "\n"))
			return err
		},
	}
	cmd.Flags().StringVarP(&file, "file", "f", "", "rules in YAML or JSON, - is standard input")
	return cmd
}

func readRules(file string, args []string) ([]control.Rule, error) {
	var rules []control.Rule
	for _, text := range args {
		more, err := control.ParseRules([]byte(text))
		if err != nil {
			return nil, err
		}
		rules = append(rules, more...)
	}
	text, err := readInput(file)
	if err != nil {
		return nil, err
	}
	if len(text) > 0 {
		more, err := control.ParseRules(text)
		if err != nil {
			return nil, err
		}
		rules = append(rules, more...)
	}
	if len(rules) == 0 {
		return nil, errors.New("no rule given: write one as an argument, or name a file with -f")
	}
	return rules, nil
}

func newFaultList(s *simulatorFlag) *cobra.Command {
	var asJSON bool
	cmd := &cobra.Command{
		Use:   "list",
		Short: "Show the rules in force and how often they met calls",
		Args:  cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			client, err := s.client()
			if err != nil {
				return err
			}
			rules, err := client.Faults(cmd.Context())
			if err != nil {
				return err
			}
			if asJSON {
				return printJSON(cmd.OutOrStdout(), rules)
			}
			w := tabwriter.NewWriter(cmd.OutOrStdout(), 0, 0, 2, ' ', 0)
			fmt.Fprintln(w, "ID\tSEEN\tFIRED\tRULE")
			for _, r := range rules {
				id := r.Rule.ID
				r.Rule.ID = ""
				text, err := json.Marshal(r.Rule)
				if err != nil {
					return fmt.Errorf("printing rule %s: %w", id, err)
				}
				fmt.Fprintf(w, "%s\t%d\t%d\t%s\n", id, r.Seen, r.Fired, text)
			}
			return w.Flush()
		},
	}
	cmd.Flags().BoolVar(&asJSON, "json", false, "print JSON")
	return cmd
}

func newFaultClear(s *simulatorFlag) *cobra.Command {
	return &cobra.Command{
		Use:   "clear [ID...]",
		Short: "Remove rules, all of them without an id",
		RunE: func(cmd *cobra.Command, args []string) error {
			client, err := s.client()
			if err != nil {
				return err
			}
			return client.ClearFaults(cmd.Context(), args...)
		},
	}
}

func newFaultRules() *cobra.Command {
	return &cobra.Command{
		Use:   "rules",
		Short: "Explain what a rule can say",
		Args:  cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			_, err := fmt.Fprint(cmd.OutOrStdout(), control.RulesHelp)
			return err
		},
	}
}
