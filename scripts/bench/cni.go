package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/containernetworking/plugins/pkg/ns"
	"github.com/containernetworking/plugins/pkg/testutils"
)

// plugin is a CNI plugin with its configuration and the namespace that it
// takes for the host.
type plugin struct {
	path string
	conf string
	host ns.NetNS // nil for the namespace of this process
}

// peerPlugin is ptp with host-local in a host namespace of its own, so that
// neither side sees the other's routes.
func peerPlugin(dir string) (plugin, error) {
	host, err := testutils.NewNS()
	if err != nil {
		return plugin{}, err
	}
	return plugin{path: "/usr/lib/cni/ptp", host: host, conf: fmt.Sprintf(
		`{"cniVersion":"1.0.0","name":"bench","type":"ptp","mtu":9001,"ipam":{"type":"host-local","subnet":"10.99.0.0/16","dataDir":%q}}`, dir)}, nil
}

func (p plugin) close() error {
	if p.host == nil {
		return nil
	}
	return errors.Join(p.host.Close(), testutils.UnmountNS(p.host))
}

// call runs one whole CNI call and returns how long the process took.
func (p plugin) call(ctx context.Context, verb, id string, pod ns.NetNS) (took time.Duration, err error) {
	cmd := exec.CommandContext(ctx, p.path)
	cmd.Stdin = strings.NewReader(p.conf)
	var out bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &out
	cmd.Env = []string{"CNI_COMMAND=" + verb, "CNI_CONTAINERID=" + id, "CNI_NETNS=" + pod.Path(), "CNI_IFNAME=eth0",
		"CNI_PATH=/usr/lib/cni", "PATH=/usr/sbin:/usr/bin:/sbin:/bin",
		"CNI_ARGS=IgnoreUnknown=1;K8S_POD_NAMESPACE=bench;K8S_POD_NAME=" + id}
	run := func() error {
		began := time.Now()
		err := cmd.Run()
		took = time.Since(began)
		return err
	}
	if p.host == nil {
		err = run()
	} else {
		err = p.host.Do(func(ns.NetNS) error { return run() })
	}
	if err != nil {
		return took, fmt.Errorf("%s %s %s: %w\n%s", p.path, verb, id, err, out.String())
	}
	return took, nil
}

// sandboxes makes n pod namespaces.
func sandboxes(n int) ([]ns.NetNS, error) {
	all := make([]ns.NetNS, 0, n)
	for range n {
		s, err := testutils.NewNS()
		if err != nil {
			return all, errors.Join(err, remove(all))
		}
		all = append(all, s)
	}
	return all, nil
}

func remove(all []ns.NetNS) error {
	var failed []error
	for _, s := range all {
		failed = append(failed, s.Close(), testutils.UnmountNS(s))
	}
	return errors.Join(failed...)
}

// teardown is how long the kernel may take to tear a namespace down after it
// was removed. It holds locks meanwhile that the next call would wait for.
const teardown = 60 * time.Millisecond

// inTurns measures ADD and DEL of both plugins, one pod at a time, in turns.
func inTurns(ctx context.Context, ours, peer plugin, rounds int) (adds, dels [2][]time.Duration, err error) {
	for i := range rounds {
		for side, p := range []plugin{ours, peer} {
			pods, err := sandboxes(1)
			if err != nil {
				return adds, dels, err
			}
			id := fmt.Sprintf("turn%d", i)
			add, err := p.call(ctx, "ADD", id, pods[0])
			if err != nil {
				return adds, dels, errors.Join(err, remove(pods))
			}
			del, err := p.call(ctx, "DEL", id, pods[0])
			if err = errors.Join(err, remove(pods)); err != nil {
				return adds, dels, err
			}
			time.Sleep(teardown)
			adds[side], dels[side] = append(adds[side], add), append(dels[side], del)
		}
	}
	return adds, dels, nil
}

// atOnce adds n pods together and returns when the last was there; then it
// removes them.
func atOnce(ctx context.Context, p plugin, n int, round string) (took time.Duration, err error) {
	pods, err := sandboxes(n)
	if err != nil {
		return 0, err
	}
	defer func() { err = errors.Join(err, remove(pods)) }()
	began := time.Now()
	err = together(n, func(i int) error {
		_, err := p.call(ctx, "ADD", fmt.Sprintf("%s-%d", round, i), pods[i])
		return err
	})
	took = time.Since(began)
	return took, errors.Join(err, together(n, func(i int) error {
		_, err := p.call(ctx, "DEL", fmt.Sprintf("%s-%d", round, i), pods[i])
		return err
	}))
}

func together(n int, do func(int) error) error {
	failed := make([]error, n)
	var wait sync.WaitGroup
	for i := range n {
		wait.Go(func() { failed[i] = do(i) })
	}
	wait.Wait()
	return errors.Join(failed...)
}

func median(d []time.Duration) time.Duration {
	sorted := slices.Clone(d)
	slices.Sort(sorted)
	return sorted[len(sorted)/2]
}

func ms(d time.Duration) float64 { return float64(d.Microseconds()) / 1000 }

// resident is a process' resident memory in MiB.
func resident(pid string) (float64, error) {
	text, err := os.ReadFile("/proc/" + pid + "/status")
	if err != nil {
		return 0, err
	}
	for _, line := range strings.Split(string(text), "\n") {
		var kib float64
		if n, _ := fmt.Sscanf(line, "VmRSS: %f kB", &kib); n == 1 {
			return kib / 1024, nil
		}
	}
	return 0, fmt.Errorf("/proc/%s/status has no VmRSS", pid)
}
