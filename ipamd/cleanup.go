package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"time"

	"github.com/spf13/cobra"
	"golang.org/x/sys/unix"

	"github.com/causeway-cni/causeway/config"
	"github.com/causeway-cni/causeway/ipamd/internal/checkpoint"
	"github.com/causeway-cni/causeway/ipamd/internal/datapath"
	"github.com/causeway-cni/causeway/ipamd/linux/kernel"
	"github.com/causeway-cni/causeway/proxy"
)

// cleanupCommand gives a node up.
func cleanupCommand() *cobra.Command {
	var services, pods bool
	cmd := &cobra.Command{
		Use:   "cleanup",
		Short: "Remove all that is ours from a node, and nothing else",
		Long: `Remove all that Causeway made on this node, and say what that was: the CNI
configuration and plugin; services, external SNAT and the connection mark, in
iptables of both variants and in nftables; routing rules, the route tables and
addresses of secondary ENIs; the state in ` + config.StateDir + `.

It refuses while ipamd or aws-node runs, and while pods have a network of ours:
drain the node before, or see "ipamd export" for giving it back to aws-node with
its pods; --pods takes it from them. Where another proxy answers at
CAUSEWAY_HEALTHZ_BIND_ADDRESS, chains of services stay in the variant of iptables
in which kube-proxy has its jumps: they are its own, but for host ports. With
PROXY_MODE=off they stay everywhere. With --services they are all that is removed.

What stays: ENIs with their addresses, for no cloud API is called, and sysctls;
in a container, also the directory ` + config.StateDir + `, empty.`,
		Args: cobra.NoArgs, SilenceUsage: true,
		RunE: func(cmd *cobra.Command, _ []string) error {
			c, _, err := configure()
			if err != nil {
				return err
			}
			n := givenUp{config: c, state: config.StateDir, out: cmd.OutOrStdout(), services: services, pods: pods}
			return n.cleanUp(cmd.Context())
		},
	}
	cmd.Flags().BoolVar(&services, "services", false, "remove services only")
	cmd.Flags().BoolVar(&pods, "pods", false, "take their network from pods that run")
	return cmd
}

// givenUp is a node from which all of ours is removed.
type givenUp struct {
	config   config.Config
	state    string
	out      io.Writer
	services bool // they alone
	pods     bool // though they run
	removed  int
}

func (n *givenUp) cleanUp(ctx context.Context) error {
	_, err := os.Stat(n.book())
	fresh := errors.Is(err, fs.ErrNotExist) // there is nothing to forget
	unlock, err := tryLock(n.state)
	if errors.Is(err, unix.EWOULDBLOCK) {
		return fmt.Errorf("ipamd runs%s: stop it first; nothing was removed", n.listener())
	}
	if err != nil {
		return err
	}
	defer unlock()
	handle, err := kernel.Open("")
	if err != nil {
		return err
	}
	defer handle.Close()
	if err := n.check(handle); err != nil {
		return fmt.Errorf("%w; nothing was removed", err)
	}
	if err := n.remove(ctx, handle, fresh); err != nil {
		return fmt.Errorf("not all is removed:\n%w", err)
	}
	if n.removed == 0 {
		fmt.Fprintln(n.out, "nothing of ours is on this node")
	}
	return nil
}

// check refuses what would take the network from those who use it.
func (n *givenUp) check(handle *kernel.Handle) error {
	if n.services {
		if _, err := os.Stat(n.book()); err == nil && n.config.Proxy.Mode == config.ProxyNFTables {
			return errors.New("services and external SNAT are in one table with PROXY_MODE=nftables: start ipamd with PROXY_MODE=off, which takes services out once kube-proxy serves")
		}
		return nil
	}
	if socket := filepath.Join(filepath.Dir(n.config.Daemon.BackingStore), "ipamd.sock"); answers(socket) {
		return fmt.Errorf("aws-node runs (it listens on %s): rules and routes are its own now", socket)
	}
	if n.pods {
		return nil
	}
	links, err := datapath.Pods(n.settings(), handle)
	if err == nil && len(links) > 0 {
		err = fmt.Errorf("%d pods have a network of ours (%s): drain the node, or say --pods", len(links), links[0])
	}
	return err
}

// remove goes on where a part fails. Runtimes are told first to send no pods,
// and the state goes last: it says what there is to remove.
func (n *givenUp) remove(ctx context.Context, handle *kernel.Handle, fresh bool) error {
	rules := proxy.Removal{Chains: n.config.Proxy.Mode != config.ProxyOff, Running: n.otherProxy(), Table: true}
	switch {
	case !rules.Chains:
		fmt.Fprintln(n.out, "left: services in iptables: PROXY_MODE is off, so that they are another's")
	case rules.Running:
		fmt.Fprintf(n.out, "left: services of another proxy, which answers at %s\n", n.config.Proxy.HealthAddr)
	}
	if n.services {
		return n.rules(ctx, rules)
	}
	rules.NAT = true
	failed := []error{n.cni(), n.rules(ctx, rules), n.network(handle)}
	if err := errors.Join(failed...); err != nil {
		return fmt.Errorf("%w\n%s stays, for another try", err, n.state)
	}
	if !fresh {
		n.report("state", "removed "+n.state)
	}
	return n.forget()
}

func (n *givenUp) report(area string, lines ...string) {
	n.removed += len(lines)
	for _, line := range lines {
		fmt.Fprintf(n.out, "%s: %s\n", area, line)
	}
}

func (n *givenUp) cni() error {
	var confErr error
	if dir := n.config.Host.ConfDir; dir != "" {
		var removed bool
		if removed, confErr = retract(dir); removed {
			n.report("CNI", "removed "+filepath.Join(dir, config.ConflistName))
		}
	} else {
		fmt.Fprintln(n.out, "left: the CNI configuration, since HOST_CNI_CONFDIR_PATH does not say where it is")
	}
	plugin := filepath.Join(n.config.Host.BinDir, config.Plugin)
	err := os.Remove(plugin)
	if err == nil {
		n.report("CNI", "removed "+plugin)
	} else if errors.Is(err, fs.ErrNotExist) {
		err = nil
	}
	return errors.Join(confErr, err)
}

func (n *givenUp) rules(ctx context.Context, r proxy.Removal) error {
	did, err := proxy.CleanupAll(ctx, r)
	n.report("rules", did...)
	return err
}

// network removes what the book's last ENIs and its pods have.
func (n *givenUp) network(handle *kernel.Handle) error {
	book, err := checkpoint.Open(n.book())
	if err != nil {
		return err
	}
	enis, err := book.ENIs()
	if err != nil {
		return err
	}
	did, err := datapath.Remove(n.settings(), enis, handle)
	n.report("network", did...)
	return err
}

// forget removes the state. The directory itself is a mount in a container, below
// a root that is read-only, and stays then, empty.
func (n *givenUp) forget() error {
	entries, err := os.ReadDir(n.state)
	if err != nil {
		return err
	}
	for _, e := range entries {
		if err := os.RemoveAll(filepath.Join(n.state, e.Name())); err != nil {
			return err
		}
	}
	if err := os.Remove(n.state); err != nil && !errors.Is(err, unix.EBUSY) && !errors.Is(err, unix.EROFS) {
		return err
	}
	return nil
}

func (n *givenUp) book() string { return filepath.Join(n.state, filepath.Base(config.BookDir)) }

func (n *givenUp) settings() datapath.Settings {
	return datapath.Settings{VethPrefix: n.config.Network.VethPrefix}
}

// otherProxy says whether somebody else serves services.
func (n *givenUp) otherProxy() bool {
	health, err := netip.ParseAddrPort(n.config.Proxy.HealthAddr)
	if err != nil {
		return false
	}
	if health.Addr().IsUnspecified() {
		health = netip.AddrPortFrom(netip.AddrFrom4([4]byte{127, 0, 0, 1}), health.Port())
	}
	conn, err := net.DialTimeout("tcp", health.String(), time.Second)
	if err == nil {
		conn.Close()
	}
	return err == nil
}

// listener tells which ipamd runs, as far as that can be known: a process of
// another pid namespace has no number here.
func (n *givenUp) listener() string {
	socket := filepath.Join(n.state, filepath.Base(config.Socket))
	conn, err := net.DialTimeout("unix", socket, time.Second)
	if err != nil {
		return " (it does not answer on " + socket + " yet, but holds its lock)"
	}
	defer conn.Close()
	if pid := peer(conn.(*net.UnixConn)); pid > 0 {
		return fmt.Sprintf(" (PID %d, it listens on %s)", pid, socket)
	}
	return fmt.Sprintf(" (it listens on %s)", socket)
}

// peer is the process that listens, or 0 (unix(7), SO_PEERCRED).
func peer(conn *net.UnixConn) int {
	raw, err := conn.SyscallConn()
	if err != nil {
		return 0
	}
	pid := 0
	err = raw.Control(func(fd uintptr) {
		if credentials, err := unix.GetsockoptUcred(int(fd), unix.SOL_SOCKET, unix.SO_PEERCRED); err == nil {
			pid = int(credentials.Pid)
		}
	})
	if err != nil {
		return 0
	}
	return pid
}
