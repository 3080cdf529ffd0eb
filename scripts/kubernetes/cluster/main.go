// Command cluster raises a Kubernetes cluster on this machine in the background,
// and takes it down; see package scripts/kubernetes.
//
//	cluster [-name NAME] [-nodes N] [-mode MODE] up
//	cluster [-name NAME] down
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"path/filepath"

	"golang.org/x/sys/unix"

	"github.com/causeway-cni/causeway/scripts/kubernetes"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, unix.SIGTERM)
	defer stop()
	name := flag.String("name", "cluster", "name of the cluster; several can run side by side")
	nodes := flag.Int("nodes", 2, "nodes that run pods")
	mode := flag.String("mode", "", "PROXY_MODE of Causeway")
	flag.Parse()
	if err := do(ctx, flag.Arg(0), *name, *nodes, *mode); err != nil {
		fmt.Fprintln(os.Stderr, "cluster:", err)
		os.Exit(1)
	}
}

// keep is the command under which the program stays with a cluster.
const keep = "keep"

func do(ctx context.Context, command, name string, nodes int, mode string) error {
	cache, err := os.UserCacheDir()
	if err != nil {
		return err
	}
	k := keeper{name: name, dir: filepath.Join(cache, "causeway", "clusters", name), nodes: nodes, mode: mode}
	switch command {
	case "up":
		return k.up(ctx)
	case "down":
		return k.down(ctx)
	case keep:
		return k.keep(ctx)
	}
	return errors.New("say up or down")
}

const whatToTry = `
The cluster is up. Try:
  export KUBECONFIG=%[1]s PATH=%[2]s:$PATH
  kubectl get nodes,pods -A -o wide
  kubectl create deployment web --image=%[3]s --replicas=2 -- vpcsim echo --listen :80
  kubectl expose deployment web --port=80
  kubectl run client --image=%[3]s --restart=Never --attach -- probe http web:80
  kubectl logs client; kubectl port-forward deploy/web 8080:80
End it with: make cluster-down
`

func (k keeper) print(c *kubernetes.Cluster) {
	fmt.Printf(whatToTry, c.Kubeconfig(), filepath.Dir(c.KubectlPath()), kubernetes.ProbeImage)
}
