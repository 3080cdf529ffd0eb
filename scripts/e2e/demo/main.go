// Command demo raises a VPC with two nodes on this machine, runs ipamd on
// each, adds pods until both ENIs of each node carry some, and sends packets
// along every walk: between pods, out of the VPC, and through services and load
// balancers. It prints what it saw.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"time"

	"github.com/causeway-cni/causeway/scripts/e2e/harness"
	"github.com/causeway-cni/causeway/scripts/e2e/walks"
)

func main() {
	var o options
	flag.StringVar(&o.bin, "bin", "bin", "directory of the built programs")
	flag.BoolVar(&o.keep, "keep", false, "leave everything up at the end")
	flag.StringVar(&o.mode, "mode", "iptables", "how services are served: iptables or nftables")
	flag.StringVar(&o.name, "name", "demo", "name of the simulator")
	flag.StringVar(&o.only, "only", "", "the walks to take, like W13,W16, without the tables (default: all)")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	failed, err := o.demo(ctx)
	if err != nil {
		fmt.Fprintln(os.Stderr, "demo:", err)
	}
	if err != nil || failed > 0 {
		os.Exit(1)
	}
}

type options struct {
	bin, name, mode, only string
	keep                  bool
}

func (o options) demo(ctx context.Context) (failed int, err error) {
	began := time.Now()
	bin, err := filepath.Abs(o.bin)
	if err != nil {
		return 0, err
	}
	dir, err := os.MkdirTemp("", "causeway-demo-")
	if err != nil {
		return 0, err
	}
	say("Raising a VPC with two m5.large nodes ...")
	lab, err := harness.Up(ctx, harness.In(bin), o.name, dir, "")
	if err != nil {
		return 0, err
	}
	lab.ProxyMode = o.mode
	defer func() {
		if o.keep && err == nil {
			o.lookAround(bin)
			return
		}
		err = errors.Join(err, lab.Close(), os.RemoveAll(dir))
	}()
	world, err := walks.Settle(ctx, lab, say)
	if err != nil {
		return 0, err
	}
	if o.only == "" {
		if err := errors.Join(o.tables(ctx, world), o.service(ctx, world)); err != nil {
			return 0, err
		}
	}
	passed, failed := o.walkAll(ctx, world)
	drops, err := lab.SourceCheckDrops(ctx)
	if err != nil {
		return failed, err
	}
	verdict := "pass"
	if drops == 0 {
		passed++
	} else {
		failed++
		verdict = "FAIL"
	}
	say("\nsource check: %d packets dropped  %s", drops, verdict)
	say("took %s\n\n%d passed, %d failed", time.Since(began).Round(time.Second), passed, failed)
	return failed, nil
}

func say(format string, args ...any) { fmt.Printf(format+"\n", args...) }

// walkAll prints a line for each walk, and below it what was not as it should be.
func (o options) walkAll(ctx context.Context, world *walks.World) (passed, failed int) {
	say("\n--- walks (by tcp and udp, services in %s)", o.mode)
	for _, w := range walks.List() {
		if o.only != "" && !slices.Contains(strings.Split(o.only, ","), w.Number) {
			continue
		}
		steps, err := w.Run(ctx, world)
		verdict := "pass"
		if err != nil {
			verdict, failed = "FAIL", failed+1
		} else {
			passed++
		}
		say("%s  %-50s %s", w.Number, w.What, verdict)
		for _, s := range steps {
			if !strings.HasSuffix(s.To, "/udp") || s.Want != "" { // udp saw the same, or says so
				say("       %s -> %s: %s", s.From, s.To, s.Saw)
			}
		}
		if err != nil {
			say("       %v", err)
		}
	}
	return passed, failed
}

func (o options) lookAround(bin string) {
	say(`
Everything is still up. To look around:
  %[1]s/vpcsim status --name %[2]s
  %[1]s/vpcsim exec --name %[2]s n1 -- ip rule
  %[1]s/vpcsim exec --name %[2]s n1 -- ip netns exec n1-pod1 bash
  %[1]s/vpcsim exec --name %[2]s n1 -- curl -s 127.0.0.1:61678/metrics
  %[1]s/vpcsim kube get services --name %[2]s
  %[1]s/vpcsim drops --name %[2]s
To take it down:
  %[1]s/vpcsim down --name %[2]s`, bin, o.name)
}
