// Command vpcsim is a VPC on one machine: an EC2 query API that the unmodified
// AWS SDK talks to, an instance metadata service, a small Kubernetes API, and a
// fabric of network namespaces that carries packets as EC2's state says.
package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/signal"

	"github.com/spf13/cobra"
	"golang.org/x/sys/unix"

	"github.com/causeway-cni/causeway/scripts/vpcsim/control"
	"github.com/causeway-cni/causeway/scripts/vpcsim/internal/daemon"
	"github.com/causeway-cni/causeway/scripts/vpcsim/internal/node"
)

func main() {
	root := newRoot()
	ctx := context.Background()
	if cmd, _, err := root.Find(os.Args[1:]); err != nil || !passesSignals(cmd) {
		heeded, stop := signal.NotifyContext(ctx, os.Interrupt, unix.SIGTERM)
		defer stop()
		ctx = heeded
	}
	err := root.ExecuteContext(ctx)
	var exit exitCode
	switch {
	case errors.As(err, &exit):
		os.Exit(int(exit))
	case err != nil:
		fmt.Fprintln(os.Stderr, "vpcsim:", err)
		os.Exit(1)
	}
}

// passesSignals says whether a command runs another program, for which the
// signals are: one that comes early must end it too, and not be swallowed.
func passesSignals(cmd *cobra.Command) bool {
	return cmd.Name() == "exec" || cmd.Name() == node.BecomeCommand
}

// exitCode ends the program with a code and without another word.
type exitCode int

func (e exitCode) Error() string { return fmt.Sprintf("exit code %d", int(e)) }

const longHelp = `vpcsim simulates an Amazon VPC on this machine, for programs that manage a
node's network: real packets between network namespaces, an EC2 API with its
errors, delays and throttles, the instance metadata service, and a small
Kubernetes API; see "vpcsim kube".

Each node is a set of namespaces (network, mounts, processes, host name) that
"vpcsim exec" enters. Inside, the metadata service answers at 169.254.169.254
and the EC2 API at http://169.254.171.1 (AWS_ENDPOINT_URL_EC2 is set to it).

Around the nodes there are
  router    delivers by what EC2 says, and enforces the source/destination check
  igw, nat  internet and NAT gateway
  internet  a host at 203.0.113.10 (.11, .12; 2001:db8:ec2::10)
  peer      a peered VPC's hosts at addresses 10 and 11 of each of its blocks
  lb        load balancers; see "vpcsim lb"
Hosts in internet and peer answer "vpcsim probe" on ports 7 and 80.

The machine's own network is left alone: no address, route or interface there.`

const example = `  vpcsim up
  vpcsim status
  vpcsim exec n1 -- ip addr
  vpcsim exec n1 -- vpcsim probe tcp 203.0.113.10:80
  vpcsim lb create web --listen TCP:80=30080 --target n1 --target n2
  vpcsim drops
  vpcsim down`

func newRoot() *cobra.Command {
	root := &cobra.Command{
		Use:           "vpcsim",
		Short:         "A VPC on one machine",
		Long:          longHelp,
		Example:       example,
		SilenceUsage:  true,
		SilenceErrors: true,
	}
	root.CompletionOptions.DisableDefaultCmd = true
	s := &simulatorFlag{}
	root.PersistentFlags().StringVar(&s.name, "name", "vpcsim", "name of the simulator; several can run side by side")
	root.AddCommand(newUp(s), newDown(s), newStatus(s), newExec(s), newFault(s), newDrops(s),
		newCIDR(s), newEgress(s), newTenant(s), newLB(s), newKube(s), newTerminate(s), newEcho(), newProbe(), newRelay(), newDaemon(), newNodeInit(), newBecome())
	return root
}

// simulatorFlag is which simulator a command is about.
type simulatorFlag struct{ name string }

func (s *simulatorFlag) state() (daemon.State, error) { return daemon.StateOf(s.name) }

// client reaches a simulator that is up.
func (s *simulatorFlag) client() (*control.Client, error) {
	state, err := s.state()
	if err != nil {
		return nil, err
	}
	if _, err := os.Stat(state.Socket()); err != nil {
		return nil, fmt.Errorf("simulator %s is not up: start it with `vpcsim up --name %s`", s.name, s.name)
	}
	return control.Dial(state.Socket()), nil
}
