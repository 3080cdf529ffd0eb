package main

import (
	"fmt"
	"io"
	"os"
	"time"

	"github.com/spf13/cobra"

	"github.com/causeway-cni/causeway/scripts/vpcsim/internal/daemon"
	"github.com/causeway-cni/causeway/scripts/vpcsim/internal/node"
	"github.com/causeway-cni/causeway/scripts/vpcsim/internal/topology"
)

func newUp(s *simulatorFlag) *cobra.Command {
	var file string
	cmd := &cobra.Command{
		Use:   "up [-f topology.yaml]",
		Short: "Start a simulated VPC and wait until its nodes are ready",
		Long: `Start a simulated VPC in the background and wait until its nodes are ready.
Without a topology: VPC 10.0.0.0/16, subnets a and b, m5.large nodes n1 and n2.
What a killed simulator of the same name has left is removed first.`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			state, err := s.state()
			if err != nil {
				return err
			}
			text, err := readInput(file)
			if err != nil {
				return err
			}
			topo, err := topology.Parse(text)
			if err != nil {
				return err
			}
			start := time.Now()
			if err := daemon.Up(cmd.Context(), state, text); err != nil {
				return err
			}
			_, err = fmt.Fprintf(cmd.OutOrStdout(), "simulator %s is up with %d nodes after %s\n",
				state.Name, len(topo.Nodes), time.Since(start).Round(10*time.Millisecond))
			return err
		},
	}
	cmd.Flags().StringVarP(&file, "file", "f", "", "topology in YAML, - is standard input")
	return cmd
}

// readInput reads a file that a flag names: "" is nothing, "-" standard input.
func readInput(file string) ([]byte, error) {
	switch file {
	case "":
		return nil, nil
	case "-":
		return io.ReadAll(os.Stdin)
	}
	return os.ReadFile(file)
}

func newDown(s *simulatorFlag) *cobra.Command {
	return &cobra.Command{
		Use:   "down",
		Short: "End a simulated VPC and everything in it",
		Long: `End a simulated VPC: its nodes, all that runs in them, its namespaces and files.
It also removes what a killed simulator has left. Nothing to remove is fine.`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			state, err := s.state()
			if err != nil {
				return err
			}
			return daemon.Down(cmd.Context(), state)
		},
	}
}

func newDaemon() *cobra.Command {
	return &cobra.Command{
		Use:    daemon.Command + " NAME",
		Short:  "Run a simulator (started by up)",
		Hidden: true,
		Args:   cobra.ExactArgs(1),
		RunE: func(_ *cobra.Command, args []string) error {
			state, err := daemon.StateOf(args[0])
			if err != nil {
				return err
			}
			return daemon.Main(state)
		},
	}
}

func newNodeInit() *cobra.Command {
	return &cobra.Command{
		Use:    node.InitCommand + " DIR HOSTNAME",
		Short:  "Be pid 1 of a node (started by up)",
		Hidden: true,
		Args:   cobra.ExactArgs(2),
		RunE:   func(_ *cobra.Command, args []string) error { return node.Init(args[0], args[1]) },
	}
}
