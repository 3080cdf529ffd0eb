//go:build cluster

package stories

import (
	"fmt"
	"math"
	"strconv"
	"strings"
	"time"

	"github.com/causeway-cni/causeway/scripts/kubernetes"
)

// idle tells what ipamd takes when nothing happens.
func (s story) idle() {
	s.Helper()
	tell := s.footprint("idle")
	tick(s.ctx, 20*time.Second)
	tell()
}

// footprint tells what ipamd takes of each node from now until tell is called:
// CPU time, and resident memory then and at its highest.
func (s story) footprint(when string) (tell func()) {
	s.Helper()
	nodes := s.cluster.Nodes[:2]
	var before []time.Duration
	for _, n := range nodes {
		s.on(n, "sh", "-c", "echo 5 > /proc/"+s.daemonPID(n)+"/clear_refs") // VmHWM starts anew (proc(5))
		before = append(before, s.daemonCPU(n))
	}
	start := time.Now()
	return func() {
		s.Helper()
		took := time.Since(start)
		for i, n := range nodes {
			spent := s.daemonCPU(n) - before[i]
			what := fmt.Sprintf("ipamd on node %d, %s: ", i+1, when)
			s.number(what+"CPU, % of one", math.Round(10000*spent.Seconds()/took.Seconds())/100, "%s in %s", spent, took.Round(100*time.Millisecond))
			s.number(what+"resident memory, MiB", s.daemonMemory(n, "VmRSS:"), "at most %.1f", s.daemonMemory(n, "VmHWM:"))
		}
	}
}

// daemonCPU is the CPU time that ipamd has taken.
func (s story) daemonCPU(n *kubernetes.Node) time.Duration {
	s.Helper()
	const tick = 10 * time.Millisecond // USER_HZ is 100
	stat := s.on(n, "cat", "/proc/"+s.daemonPID(n)+"/stat")
	_, afterName, _ := strings.Cut(stat, ") ")
	fields := strings.Fields(afterName)
	var spent time.Duration
	for _, f := range fields[11:13] { // utime and stime (proc_pid_stat(5))
		ticks, err := strconv.Atoi(f)
		if err != nil {
			s.Fatalf("reading %q: %v", stat, err)
		}
		spent += time.Duration(ticks) * tick
	}
	return spent
}

// daemonMemory is a row of the status of ipamd's process, in MiB.
func (s story) daemonMemory(n *kubernetes.Node, row string) float64 {
	s.Helper()
	_, after, _ := strings.Cut(s.on(n, "cat", "/proc/"+s.daemonPID(n)+"/status"), row)
	var kib float64
	if _, err := fmt.Sscan(after, &kib); err != nil {
		s.Fatalf("%s of ipamd: %v", row, err)
	}
	return math.Round(kib/1024*10) / 10
}
