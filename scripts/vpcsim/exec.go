package main

import (
	"fmt"
	"os"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"github.com/causeway-cni/causeway/scripts/vpcsim/internal/daemon"
	"github.com/causeway-cni/causeway/scripts/vpcsim/internal/fabric"
	"github.com/causeway-cni/causeway/scripts/vpcsim/internal/node"
)

// places are what exec can enter besides nodes.
var places = []string{fabric.Internet, fabric.Peer, fabric.Router, fabric.IGW, fabric.NAT, fabric.LB}

func newExec(s *simulatorFlag) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "exec NODE [--] COMMAND [ARG...]",
		Short: "Run a command in a node",
		Long: `Run a command in a node, with the environment that programs need there, and
end with its exit code. NODE can also be one of internet, peer, router, igw and
nat; these have a network of their own and share everything else with the
machine. "nsenter -t PID -n -m -u -p", with the PID that status shows, enters a
node too, without the environment.`,
		Example: `  vpcsim exec n1 -- curl -s http://169.254.169.254/
  vpcsim exec n1 bash
  vpcsim exec internet -- vpcsim probe tcp 198.51.100.11:80
  vpcsim exec router -- ip route`,
		Args: cobra.MinimumNArgs(2),
		RunE: func(_ *cobra.Command, args []string) error {
			state, err := s.state()
			if err != nil {
				return err
			}
			words := args[1:]
			if words[0] == "--" {
				words = words[1:]
			}
			c, err := command(state, args[0], words)
			if err != nil {
				return err
			}
			code, err := c.Run()
			if err == nil && code != 0 {
				err = exitCode(code)
			}
			return err
		},
	}
	cmd.Flags().SetInterspersed(false)
	for _, name := range []string{"interactive", "tty"} {
		cmd.Flags().BoolP(name, name[:1], false, "for those used to it: streams and terminal are always passed on")
	}
	return cmd
}

func command(state daemon.State, place string, args []string) (node.Command, error) {
	c := node.Command{
		Args: args, Env: environment(os.Environ()),
		Stdin: os.Stdin, Stdout: os.Stdout, Stderr: os.Stderr,
	}
	if slices.Contains(places, place) {
		c.Space = fabric.SpaceName(state.Name, place)
		c.Env = append(c.Env, "KUBECONFIG="+state.Kubeconfig())
		return c, nil
	}
	pid, err := state.NodePID(place)
	if err != nil {
		return node.Command{}, err
	}
	c.PID = pid
	endpoint, err := state.Endpoint()
	if err != nil {
		return node.Command{}, err
	}
	for k, v := range daemon.NodeEnv(place, endpoint) {
		c.Env = append(c.Env, fmt.Sprintf("%s=%s", k, v))
	}
	return c, nil
}

// account are the variables by which the machine's own AWS account would get
// in front of the node's.
var account = []string{
	"AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN", "AWS_PROFILE", "AWS_DEFAULT_PROFILE",
	"AWS_ROLE_ARN", "AWS_WEB_IDENTITY_TOKEN_FILE", "AWS_CONFIG_FILE", "AWS_SHARED_CREDENTIALS_FILE",
	"AWS_CONTAINER_CREDENTIALS_FULL_URI", "AWS_CONTAINER_CREDENTIALS_RELATIVE_URI", "AWS_CONTAINER_AUTHORIZATION_TOKEN",
}

// environment is what a command takes along: all but the machine's AWS account
// and proxies, which do not exist in a simulated VPC.
func environment(env []string) []string {
	return slices.DeleteFunc(slices.Clone(env), func(kv string) bool {
		key, _, _ := strings.Cut(strings.ToUpper(kv), "=")
		return slices.Contains(account, key) || strings.HasSuffix(key, "_PROXY")
	})
}

// newBecome is the second half of exec, inside the node. Flags are the
// command's own.
func newBecome() *cobra.Command {
	return &cobra.Command{
		Use:                node.BecomeCommand + " COMMAND [ARG...]",
		Short:              "Run a command and end with the parent (started by exec)",
		Hidden:             true,
		DisableFlagParsing: true,
		Args:               cobra.MinimumNArgs(1),
		RunE: func(_ *cobra.Command, args []string) error {
			const notFound = 127 // as shells have it
			err := node.Become(args)
			fmt.Fprintln(os.Stderr, "vpcsim:", err)
			return exitCode(notFound)
		},
	}
}
