// Command bench measures whole processes against a public peer in the same
// run, prints a table, and writes it as JSON. It exits non-zero when a row
// misses its target.
//
// Machines differ and are noisy, so what counts is the ratio: ours and the
// peer's are measured in turns, and medians are compared. The peer of the CNI
// plugin is ptp with host-local from Debian's containernetworking-plugins.
package main

import (
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"text/tabwriter"

	"github.com/causeway-cni/causeway/scripts/e2e/harness"
)

// Row is one line of the table; lower is better.
type Row struct {
	Name   string  `json:"name"`
	Unit   string  `json:"unit"`
	Ours   float64 `json:"ours"`
	Peer   float64 `json:"peer"` // or the limit, for a row without a peer
	Ratio  float64 `json:"ratio"`
	Target float64 `json:"target"` // highest ratio allowed; 0 if it is only told
}

func row(name, unit string, ours, peer, target float64) Row {
	return Row{Name: name, Unit: unit, Ours: ours, Peer: peer, Ratio: ours / peer, Target: target}
}

func main() {
	bin := flag.String("bin", "bin", "directory of the built programs")
	out := flag.String("out", "bin/bench.json", "file for the rows")
	only := flag.String("only", "", "cni or services: measure only that; cni is also the start")
	sizes := flag.String("services", "1000,5000,10000", "numbers of services, growing")
	onNode := flag.Bool("on-node", false, "measure here; used by bench itself inside the simulated node")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	run := func() error { return bench(ctx, *bin, *out, *only, *sizes) }
	if *onNode {
		run = func() error { return measureOnNode(ctx, harness.In(*bin)) }
	}
	if err := run(); err != nil {
		fmt.Fprintln(os.Stderr, "bench:", err)
		os.Exit(1)
	}
}

// topology is one large node whose EC2 answers at once, so that the pool is
// never what is waited for.
const topology = `
subnets:
  - {name: a, cidr: 10.0.0.0/19, zone: us-west-2a}
nodes:
  - {name: n1, subnet: a, type: m5.24xlarge}
throttle: {enabled: false}
`

func bench(ctx context.Context, bin, out, only, sizes string) error {
	bin, err := filepath.Abs(bin)
	if err != nil {
		return err
	}
	var numbers []int
	for each := range strings.SplitSeq(sizes, ",") {
		n, err := strconv.Atoi(each)
		if err != nil || n < 1 || n > 16000 {
			return fmt.Errorf("-services %q: want numbers from 1 to 16000, separated by commas", sizes)
		}
		numbers = append(numbers, n)
	}
	var rows []Row
	if only != "services" {
		measured, err := measurePlugin(ctx, bin)
		if err != nil {
			return err
		}
		rows = append(rows, measured...)
		if measured, err = measureStart(ctx, bin); err != nil {
			return err
		}
		rows = append(rows, measured...)
	}
	if only != "cni" {
		measured, err := measureServices(ctx, bin, numbers)
		if err != nil {
			return err
		}
		rows = append(rows, measured...)
	}
	return report(rows, out)
}

// measurePlugin compares the CNI plugin, and weighs the daemon.
func measurePlugin(ctx context.Context, bin string) (rows []Row, err error) {
	dir, err := os.MkdirTemp("", "causeway-bench-")
	if err != nil {
		return nil, err
	}
	defer os.RemoveAll(dir)
	lab, err := harness.Up(ctx, harness.In(bin), "bench", dir, topology)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, lab.Close()) }()
	node := lab.Node("n1")
	// Addresses are handed out again at once: cool-down is not measured here.
	if _, err := node.StartIpamd("IP_COOLDOWN_PERIOD=0", "AWS_VPC_K8S_CNI_LOGLEVEL=info"); err != nil {
		return nil, err
	}
	if err := node.AwaitReady(ctx); err != nil {
		return nil, err
	}
	self, err := os.Executable()
	if err != nil {
		return nil, err
	}
	text, err := node.Exec(ctx, self, "-on-node", "-bin", bin)
	if err != nil {
		return nil, err
	}
	if err := json.Unmarshal([]byte(text), &rows); err != nil {
		return nil, fmt.Errorf("reading the measurements %q: %w", text, err)
	}
	return rows, nil
}

func report(rows []Row, out string) error {
	text, err := json.MarshalIndent(rows, "", "  ")
	if err != nil {
		return err
	}
	if err := os.WriteFile(out, append(text, '\n'), 0o644); err != nil {
		return err
	}
	table := tabwriter.NewWriter(os.Stdout, 0, 0, 2, ' ', 0)
	fmt.Fprintln(table, "what\tunit\tours\tpeer or limit\tratio\ttarget\t")
	var missed []string
	for _, r := range rows {
		verdict := "ok"
		if r.Target == 0 {
			verdict = "-"
		} else if r.Ratio > r.Target {
			verdict = "MISSED"
			missed = append(missed, r.Name)
		}
		fmt.Fprintf(table, "%s\t%s\t%.2f\t%.2f\t%.2f\t%.2f\t%s\n", r.Name, r.Unit, r.Ours, r.Peer, r.Ratio, r.Target, verdict)
	}
	if err := table.Flush(); err != nil {
		return err
	}
	if len(missed) > 0 {
		return fmt.Errorf("over target: %s", strings.Join(missed, ", "))
	}
	return nil
}
