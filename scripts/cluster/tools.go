// Package cluster runs real programs of Kubernetes for tests and benchmarks:
// etcd from the distribution, kube-apiserver and kube-proxy built from their
// modules (scripts/tools) and kept in the user's cache directory.
//
// Each program runs in a network namespace that its caller made, and ends with
// its caller, by its process ID.
package cluster

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"

	"golang.org/x/sys/unix"
)

// Version is the release that is built.
const Version = "v1.36.3"

// Tools are paths of programs.
type Tools struct{ Etcd, APIServer, KubeProxy string }

// Build finds the programs, and builds those that are missing: about four
// minutes on two cores. say is told before that.
func Build(ctx context.Context, say func(string)) (Tools, error) {
	etcd, err := exec.LookPath("etcd")
	if err != nil {
		return Tools{}, fmt.Errorf("etcd is missing: install the package etcd-server: %w", err)
	}
	module, err := moduleDir()
	if err != nil {
		return Tools{}, err
	}
	dir, err := cacheDir(module)
	if err != nil {
		return Tools{}, err
	}
	tools := Tools{Etcd: etcd, APIServer: filepath.Join(dir, "kube-apiserver"), KubeProxy: filepath.Join(dir, "kube-proxy")}
	unlock, err := lock(filepath.Join(dir, "lock"))
	if err != nil {
		return Tools{}, err
	}
	defer unlock()
	for _, program := range []string{tools.KubeProxy, tools.APIServer} {
		if _, err := os.Stat(program); err == nil {
			continue
		}
		name := filepath.Base(program)
		say(fmt.Sprintf("Building %s %s once, into %s ...", name, Version, dir))
		cmd := exec.CommandContext(ctx, "go", "build", "-trimpath", "-o", program+".new",
			"-ldflags", "-s -w -X k8s.io/component-base/version.gitVersion="+Version, "k8s.io/kubernetes/cmd/"+name)
		cmd.Dir, cmd.Env = module, append(os.Environ(), "CGO_ENABLED=0", "GOFLAGS=-mod=mod")
		if out, err := cmd.CombinedOutput(); err != nil {
			return Tools{}, fmt.Errorf("building %s: %w\n%s", name, err, out)
		}
		if err := os.Rename(program+".new", program); err != nil {
			return Tools{}, err
		}
	}
	return tools, nil
}

// moduleDir is scripts/tools of the source tree that this was built from, or
// of the one that the program runs in.
func moduleDir() (string, error) {
	_, here, _, _ := runtime.Caller(0)
	for _, dir := range []string{filepath.Join(filepath.Dir(here), "..", "tools"), "scripts/tools"} {
		if _, err := os.Stat(filepath.Join(dir, "go.mod")); err == nil {
			return filepath.Abs(dir)
		}
	}
	return "", errors.New("scripts/tools is not found: run this in the source tree")
}

// cacheDir depends on what is built.
func cacheDir(module string) (string, error) {
	sum := sha256.New()
	for _, name := range []string{"go.mod", "go.sum"} {
		text, err := os.ReadFile(filepath.Join(module, name))
		if err != nil {
			return "", err
		}
		sum.Write(text)
	}
	cache, err := os.UserCacheDir()
	if err != nil {
		return "", err
	}
	dir := filepath.Join(cache, "causeway", "tools", Version+"-"+hex.EncodeToString(sum.Sum(nil)[:6]))
	return dir, os.MkdirAll(dir, 0o755)
}

// lock lets one build run at a time.
func lock(path string) (unlock func(), err error) {
	file, err := os.OpenFile(path, os.O_CREATE|os.O_RDWR, 0o644)
	if err != nil {
		return nil, err
	}
	if err := unix.Flock(int(file.Fd()), unix.LOCK_EX); err != nil {
		file.Close()
		return nil, fmt.Errorf("waiting for another build: %w", err)
	}
	return func() { file.Close() }, nil
}
