package main

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/causeway-cni/causeway/config"
	"github.com/causeway-cni/causeway/proxy"
)

// installCommand prepares a node before the daemon runs.
func installCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "install [PLUGIN]",
		Short: "Put the CNI plugin on the node and set its sysctls, before ipamd runs",
		Long: `Copy the CNI plugin into HOST_CNI_BIN_PATH, and set the sysctls that the daemon
keeps: forwarding, and the table of connections. PLUGIN is the ` + config.Plugin + ` beside
this program if it is not given.

A plugin that runs is not disturbed: the new one takes its place in one step.
The CNI configuration is not written here but by the daemon, once it can serve.`,
		Args: cobra.MaximumNArgs(1), SilenceUsage: true,
		RunE: func(cmd *cobra.Command, args []string) error {
			c, _, err := configure()
			if err != nil {
				return err
			}
			plugin, err := pluginBeside(args)
			if err != nil {
				return err
			}
			if err := installPlugin(cmd.OutOrStdout(), plugin, c.Host.BinDir); err != nil {
				return err
			}
			return prepareNode(cmd.OutOrStdout(), c)
		},
	}
}

func pluginBeside(args []string) (string, error) {
	if len(args) > 0 {
		return args[0], nil
	}
	self, err := os.Executable()
	if err != nil {
		return "", fmt.Errorf("looking for %s beside this program: %w", config.Plugin, err)
	}
	return filepath.Join(filepath.Dir(self), config.Plugin), nil
}

// installPlugin copies the plugin. One that is the same already is left, so that
// a restart of the pod writes nothing.
func installPlugin(out io.Writer, from, dir string) error {
	text, err := os.ReadFile(from)
	if err != nil {
		return fmt.Errorf("installing the CNI plugin: %w", err)
	}
	to := filepath.Join(dir, config.Plugin)
	same, err := isFile(to, text, 0o755)
	if err == nil && !same {
		err = replaceFile(to, text, 0o755, time.Time{})
	}
	if err != nil {
		return fmt.Errorf("installing the CNI plugin: %w", err)
	}
	if same {
		fmt.Fprintln(out, to, "is up to date")
	} else {
		fmt.Fprintln(out, "installed", to)
	}
	return nil
}

// isFile says whether a file has that text and mode.
func isFile(path string, text []byte, mode fs.FileMode) (bool, error) {
	info, err := os.Lstat(path)
	if errors.Is(err, fs.ErrNotExist) {
		return false, nil
	}
	if err != nil || info.Mode() != mode || info.Size() != int64(len(text)) {
		return false, err
	}
	found, err := os.ReadFile(path)
	return string(found) == string(text), err
}

// checkHost refuses a directory that does not have what is to be written there.
func checkHost(c config.Host) error {
	if c.Writable == "" {
		return nil
	}
	if _, err := os.Stat(filepath.Join(c.Writable, "proc/sys/net/ipv4")); err != nil {
		return fmt.Errorf("CAUSEWAY_HOST_ROOT=%q: %w; want a directory with the node's /proc/sys/net mounted as proc/sys/net", c.Writable, err)
	}
	return nil
}

// prepareNode sets sysctls. The daemon keeps them so; that one cannot be set is
// for it to tell again, or to fail of.
func prepareNode(out io.Writer, c config.Config) error {
	path := filepath.Join("/", c.Host.Writable, "proc/sys/net/ipv4/ip_forward")
	found, err := os.ReadFile(path)
	if err == nil && strings.TrimSpace(string(found)) != "1" {
		if err = os.WriteFile(path, []byte("1"), 0o644); err == nil {
			fmt.Fprintln(out, "net.ipv4.ip_forward = 1")
		}
	}
	if err != nil {
		return fmt.Errorf("letting the node forward packets: %w", err)
	}
	if c.Proxy.Mode == config.ProxyOff {
		return nil
	}
	changed, failed := proxy.NewTuner(c.Host.Writable).Tune(c.Conntrack, c.Proxy.LocalhostNodePorts)
	for _, line := range changed {
		fmt.Fprintln(out, line)
	}
	for _, line := range failed {
		fmt.Fprintln(out, "warning:", line)
	}
	return nil
}
