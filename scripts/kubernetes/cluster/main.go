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
	"strings"

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

func (k keeper) print(c *kubernetes.Cluster) {
	fmt.Printf("\nThe cluster is up. Try:\n  %s\nEnd it with: make cluster-down\n", strings.Join(c.WhatToTry(), "\n  "))
}
