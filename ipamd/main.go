// Command ipamd is the daemon of Causeway: it allocates ENIs and addresses
// through the EC2 API, serves them to the CNI plugin, and keeps the node's
// routes, rules and NAT in place. It is configured by environment variables;
// `ipamd settings` lists them.
package main

import (
	"context"
	"fmt"
	"log/slog"
	"os"
	"os/signal"
	"runtime/debug"
	"syscall"

	"github.com/spf13/cobra"

	"github.com/causeway-cni/causeway/config"
	"github.com/causeway-cni/causeway/rpc"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if _, told := os.LookupEnv("GOGC"); !told {
		debug.SetGCPercent(gcPercent)
	}
	if err := command().ExecuteContext(ctx); err != nil {
		fmt.Fprintln(os.Stderr, "ipamd:", err)
		os.Exit(1)
	}
}

// gcPercent trades the daemon's little work for a heap at most half as large
// again as what is in use: the daemon runs on every node, beside what users pay
// their nodes for.
const gcPercent = 50

func command() *cobra.Command {
	root := &cobra.Command{
		Use:   "ipamd",
		Short: "The daemon of Causeway: addresses of the VPC for pods",
		Long: `ipamd gives pods addresses of the VPC. It attaches ENIs and assigns addresses
through the EC2 API, serves them to the CNI plugin on ` + config.Socket + `,
and keeps the node's routes, rules and source NAT in place.

It is configured by environment variables; "ipamd settings" lists them.`,
		Version: rpc.Version, Args: cobra.NoArgs, SilenceUsage: true, SilenceErrors: true,
		RunE: func(cmd *cobra.Command, _ []string) error {
			c, log, err := configure()
			if err != nil {
				return err
			}
			return run(cmd.Context(), c, log)
		},
	}
	root.AddCommand(&cobra.Command{
		Use: "settings", Short: "List all settings with their defaults and meanings", Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			_, err := fmt.Fprint(cmd.OutOrStdout(), config.Page())
			return err
		},
	})
	root.AddCommand(&cobra.Command{
		Use: "idle", Short: "Do nothing until told to end, for pods whose init containers have done all", Args: cobra.NoArgs,
		Run: func(cmd *cobra.Command, _ []string) { <-cmd.Context().Done() },
	})
	root.AddCommand(installCommand(), proxyCommand(), exportCommand(), cleanupCommand())
	root.CompletionOptions.DisableDefaultCmd = true
	return root
}

func configure() (config.Config, *slog.Logger, error) {
	c, warnings, err := config.Load(os.LookupEnv)
	if err != nil {
		return c, nil, fmt.Errorf("these settings cannot be used:\n%w", err)
	}
	var level slog.Level
	if err := level.UnmarshalText([]byte(c.Daemon.LogLevel)); err != nil {
		return c, nil, err
	}
	log := slog.New(slog.NewTextHandler(os.Stderr, &slog.HandlerOptions{Level: level}))
	for _, w := range warnings {
		log.Warn(w)
	}
	return c, log, nil
}
