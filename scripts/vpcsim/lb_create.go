package main

import (
	"cmp"
	"errors"
	"fmt"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"
	"sigs.k8s.io/yaml"

	"github.com/causeway-cni/causeway/scripts/vpcsim/control"
)

// lbFlags are a balancer as the command line describes it: each listener has a
// target group of its own, and all groups have the same targets.
type lbFlags struct {
	kind, targetType, check string
	internetFacing          bool
	crossZone, preserve     bool
	subnets                 []string
	listeners, targets      []string
	drain                   time.Duration
	file                    string
}

func newLBCreate(s *simulatorFlag) *cobra.Command {
	var f lbFlags
	cmd := &cobra.Command{
		Use:   "create NAME --listen PROTOCOL:PORT=TARGETPORT [--target TARGET]... | create -f FILE",
		Short: "Create a load balancer and print its addresses",
		Long: `Create a load balancer and print its addresses. Each --listen makes a listener
and a target group named like tcp-80, all with the same targets. -f takes the
whole of a balancer in YAML, as under loadBalancers in a topology.

Client addresses are kept for nodes and for UDP, unless --preserve-client-ip=false.
The keys of --check are protocol (TCP, HTTP), port, path, interval, timeout,
healthyThreshold, unhealthyThreshold and codes.`,
		Example: `  vpcsim lb create web --internet-facing --listen TCP:80=30080 --target n1 --target n2 \
    --check '{protocol: HTTP, port: 30500, path: /healthz, interval: 1s}'
  vpcsim lb create dns --listen UDP:53=30053 --target n1`,
		Args: cobra.MaximumNArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			spec, err := f.spec(cmd, strings.Join(args, ""))
			if err != nil {
				return err
			}
			client, err := s.client()
			if err != nil {
				return err
			}
			st, err := client.CreateBalancer(cmd.Context(), spec)
			if err != nil {
				return err
			}
			w := tabwriter.NewWriter(cmd.OutOrStdout(), 0, 0, 2, ' ', 0)
			printBalancers(w, []control.BalancerStatus{st})
			return w.Flush()
		},
	}
	flags := cmd.Flags()
	flags.StringVarP(&f.file, "file", "f", "", "balancer in YAML, - is standard input")
	flags.StringVar(&f.kind, "type", "nlb", "nlb or alb")
	flags.BoolVar(&f.internetFacing, "internet-facing", false, "give it public addresses")
	flags.BoolVar(&f.crossZone, "cross-zone", false, "send to targets of all zones (an alb always does)")
	flags.StringSliceVar(&f.subnets, "subnet", nil, "subnets, one of each zone (default: all)")
	flags.StringArrayVar(&f.listeners, "listen", nil, "listener, like TCP:80=30080")
	flags.StringVar(&f.targetType, "target-type", "instance", "instance or ip")
	flags.StringArrayVar(&f.targets, "target", nil, "target, NODE[:PORT] or ADDRESS[:PORT]")
	flags.BoolVar(&f.preserve, "preserve-client-ip", false, "targets see the client's address (default: true for instances and UDP)")
	flags.DurationVar(&f.drain, "deregistration-delay", 5*time.Minute, "how long targets drain")
	flags.StringVar(&f.check, "check", "", "health check, in YAML")
	return cmd
}

// spec reads the balancer from the file or from the other flags.
func (f lbFlags) spec(cmd *cobra.Command, name string) (control.LoadBalancer, error) {
	var b control.LoadBalancer
	if f.file != "" {
		text, err := readInput(f.file)
		if err != nil {
			return b, err
		}
		if err := yaml.UnmarshalStrict(text, &b); err != nil {
			return b, fmt.Errorf("reading the load balancer: %w", err)
		}
		b.Name = cmp.Or(name, b.Name)
		return b, nil
	}
	if name == "" || len(f.listeners) == 0 {
		return b, errors.New("a load balancer needs a name and a --listen PROTOCOL:PORT=TARGETPORT, or a file with -f")
	}
	b.Name, b.Type, b.Subnets, b.Scheme = name, f.kind, f.subnets, "internal"
	if f.internetFacing {
		b.Scheme = "internet-facing"
	}
	if cmd.Flags().Changed("cross-zone") {
		b.CrossZone = &f.crossZone
	}
	return b, f.listen(cmd, &b)
}

// listen adds the listeners and their groups.
func (f lbFlags) listen(cmd *cobra.Command, b *control.LoadBalancer) error {
	targets, err := parseTargets(f.targets)
	if err != nil {
		return err
	}
	for _, text := range f.listeners {
		listener, group, err := parseListener(text)
		if err != nil {
			return err
		}
		group.TargetType, group.Targets, group.DeregistrationDelay = f.targetType, targets, new(control.Duration(f.drain))
		if cmd.Flags().Changed("preserve-client-ip") {
			group.PreserveClientIP = &f.preserve
		}
		if err := yaml.UnmarshalStrict([]byte(f.check), &group.HealthCheck); err != nil {
			return fmt.Errorf("reading --check %q: %w", f.check, err)
		}
		b.Listeners, b.TargetGroups = append(b.Listeners, listener), append(b.TargetGroups, group)
	}
	return nil
}

// parseListener reads PROTOCOL:PORT=TARGETPORT.
func parseListener(text string) (control.Listener, control.TargetGroup, error) {
	var l control.Listener
	var g control.TargetGroup
	front, back, ok := strings.Cut(text, "=")
	protocol, port, ported := strings.Cut(front, ":")
	if !ok || !ported {
		return l, g, fmt.Errorf("listener %q: write it like TCP:80=30080", text)
	}
	var err1, err2 error
	l.Protocol = strings.ToUpper(protocol)
	l.Port, err1 = parsePort(port)
	g.Port, err2 = parsePort(back)
	if err := errors.Join(err1, err2); err != nil {
		return l, g, fmt.Errorf("listener %q: %w", text, err)
	}
	g.Name = fmt.Sprintf("%s-%d", strings.ToLower(protocol), l.Port)
	l.TargetGroup = g.Name
	return l, g, nil
}
