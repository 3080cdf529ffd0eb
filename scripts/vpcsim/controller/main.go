// Command controller gives a real cluster on the simulator its load balancers:
// Services of type LoadBalancer and Ingresses of class alb, by the annotations
// that users of the AWS Load Balancer Controller write.
//
//	controller [-name SIMULATOR] [-kubeconfig FILE] [-addresses]
package main

import (
	"context"
	"flag"
	"fmt"
	"log/slog"
	"os"
	"os/signal"
	"syscall"

	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/tools/clientcmd"

	"github.com/causeway-cni/causeway/scripts/vpcsim/control"
	"github.com/causeway-cni/causeway/scripts/vpcsim/internal/daemon"
	"github.com/causeway-cni/causeway/scripts/vpcsim/internal/elbcontroller"
)

func main() {
	name := flag.String("name", "vpcsim", "name of the simulator")
	kubeconfig := flag.String("kubeconfig", os.Getenv("KUBECONFIG"), "kubeconfig file of the cluster")
	addresses := flag.Bool("addresses", false, "write addresses into the status of objects, in place of a host name that nobody resolves")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if err := run(ctx, *name, *kubeconfig, *addresses); err != nil {
		fmt.Fprintln(os.Stderr, "controller:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context, name, kubeconfig string, addresses bool) error {
	config, err := clientcmd.BuildConfigFromFlags("", kubeconfig)
	if err != nil {
		return fmt.Errorf("reading the kubeconfig: %w", err)
	}
	config.QPS = -1                         // it is one client of an API on the same machine
	config.ContentType = "application/json" // all that the simulator's own API speaks
	api, err := kubernetes.NewForConfig(config)
	if err != nil {
		return fmt.Errorf("setting up the client of %s: %w", config.Host, err)
	}
	state, err := daemon.StateOf(name)
	if err != nil {
		return err
	}
	simulator := control.Dial(state.Socket())
	return elbcontroller.New(elbcontroller.Settings{
		API: api, Simulator: simulator, Place: simulator, Addresses: addresses, Log: slog.New(slog.NewTextHandler(os.Stderr, nil)),
	}).Run(ctx)
}
