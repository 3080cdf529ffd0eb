package main

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/netip"
	"os"
	"time"

	"github.com/spf13/cobra"

	"github.com/causeway-cni/causeway/scripts/vpcsim/internal/echo"
)

func newEcho() *cobra.Command {
	var listen string
	var s echo.Server
	cmd := &cobra.Command{
		Use:   "echo --listen ADDR",
		Short: "Tell callers which source address they have",
		Long: `Answer TCP, HTTP and UDP on one port and tell callers which source address was
seen. "vpcsim probe" asks it; so does curl. When it is told to end it takes no
new connections, and closes each that it has after one more answer.`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			sockets, err := echo.Open(cmd.Context(), listen)
			if err != nil {
				return err
			}
			return s.Serve(cmd.Context(), sockets)
		},
	}
	name, err := os.Hostname()
	if err != nil {
		name = "unknown"
	}
	cmd.Flags().StringVar(&listen, "listen", ":8080", "host:port, or :port for all addresses")
	cmd.Flags().StringVar(&s.Host, "host", name, "name to give to callers")
	cmd.Flags().DurationVar(&s.Grace, "grace", 0, "how long connections may last after the end, until their next answer")
	return cmd
}

func newProbe() *cobra.Command {
	var p echo.Probe
	var bind string
	var count int
	var interval time.Duration
	var asJSON, failFast bool
	cmd := &cobra.Command{
		Use:   "probe tcp|udp|http HOST:PORT",
		Short: "Ask an echo server which source address it sees",
		Long: `Ask an echo server which source address it sees, and print both ends' view:
  client   this end's own address and port, before any translation
  target   whom it addressed
  source   the client as the server sees it
  server   the server's own end
Each try is a connection of its own. The exit code is 1 if any got no answer.`,
		Example: "  vpcsim probe tcp 203.0.113.10:80\n  vpcsim probe udp 10.0.0.5:8080 --bind 10.0.1.7 --count 3 --json",
		Args:    cobra.ExactArgs(2),
		RunE: func(cmd *cobra.Command, args []string) error {
			p.Proto, p.Target = args[0], args[1]
			if bind != "" {
				addr, err := netip.ParseAddr(bind)
				if err != nil {
					return fmt.Errorf("--bind %q is not an address: write it like 10.0.0.5", bind)
				}
				p.Bind = addr
			}
			failed := 0
			for n := range count {
				if n > 0 && !pause(cmd.Context(), interval) {
					break
				}
				res, err := p.Run(cmd.Context())
				if err != nil {
					failed++
				}
				if err := printProbe(cmd.OutOrStdout(), res, err, asJSON); err != nil {
					return err
				}
				if failed > 0 && failFast {
					break
				}
			}
			if failed > 0 {
				return exitCode(1)
			}
			return nil
		},
	}
	cmd.Flags().StringVar(&bind, "bind", "", "source address to use")
	cmd.Flags().IntVar(&count, "count", 1, "how often to ask")
	cmd.Flags().DurationVar(&interval, "interval", 0, "pause between tries")
	cmd.Flags().DurationVar(&p.Wait, "timeout", 3*time.Second, "for each try")
	cmd.Flags().BoolVar(&failFast, "fail-fast", false, "do not go on after one that got no answer")
	cmd.Flags().IntVar(&p.Size, "size", 1, "payload bytes")
	cmd.Flags().BoolVar(&asJSON, "json", false, "print a line of JSON per try")
	return cmd
}

// pause waits; false if ctx ended.
func pause(ctx context.Context, d time.Duration) bool {
	select {
	case <-ctx.Done():
		return false
	case <-time.After(d):
		return true
	}
}

// printProbe prints one try; a failed one with its error.
func printProbe(w io.Writer, res echo.Result, failure error, asJSON bool) error {
	if !asJSON {
		if failure != nil {
			_, err := fmt.Fprintln(w, "failed:", failure)
			return err
		}
		_, err := fmt.Fprintln(w, res)
		return err
	}
	line := struct {
		echo.Result
		Error string `json:"error,omitempty"`
	}{Result: res}
	if failure != nil {
		line.Error = failure.Error()
	}
	return json.NewEncoder(w).Encode(line)
}
