package main

import (
	"fmt"
	"net"

	"github.com/spf13/cobra"

	"github.com/causeway-cni/causeway/scripts/vpcsim/internal/echo"
)

func newRelay() *cobra.Command {
	var listen, to string
	cmd := &cobra.Command{
		Use:   "relay --listen ADDR --to HOST:PORT",
		Short: "Pass TCP connections on, as an ingress controller does",
		Long: `Accept TCP connections and pass their bytes on, each over a connection of its
own to another address: the far end sees this end as its client.`,
		Example: "  vpcsim relay --listen :8080 --to 10.100.0.10:80",
		Args:    cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if _, _, err := net.SplitHostPort(to); err != nil {
				return fmt.Errorf("--to %q: write it like 10.100.0.10:80: %w", to, err)
			}
			l, err := new(net.ListenConfig).Listen(cmd.Context(), "tcp", listen)
			if err != nil {
				return fmt.Errorf("opening the relay's port: %w", err)
			}
			return echo.Relay(cmd.Context(), l, to)
		},
	}
	cmd.Flags().StringVar(&listen, "listen", ":8080", "host:port, or :port for all addresses")
	cmd.Flags().StringVar(&to, "to", "", "where connections lead")
	return cmd
}
