// Package cluster runs real programs of Kubernetes for tests and benchmarks:
// etcd from the distribution, the others built from their modules
// (scripts/tools) and kept in the user's cache directory. Package
// scripts/kubernetes makes a whole cluster of them.
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
type Tools struct {
	Etcd, APIServer, KubeProxy string
	dir                        string
}

// Path is that of a program that BuildAll has built, by its name.
func (t Tools) Path(program string) string { return filepath.Join(t.dir, program) }

// DNS is the name of the cluster's DNS server among the programs.
const DNS = "coredns"

// source is what a program is built from: a package, and the directory, from
// scripts/tools, of the module that pins it.
func source(program string) (pkg, module string) {
	if program == DNS {
		return ".", "../kubernetes/coredns"
	}
	return "k8s.io/kubernetes/cmd/" + program, "."
}

// Build finds etcd, kube-apiserver and kube-proxy, and builds what is missing:
// about four minutes on two cores. say is told before that.
func Build(ctx context.Context, say func(string)) (Tools, error) {
	return build(ctx, say, "kube-proxy", "kube-apiserver")
}

// BuildAll is Build for all programs of a cluster, Path names them: about eight
// minutes.
func BuildAll(ctx context.Context, say func(string)) (Tools, error) {
	return build(ctx, say, "kube-apiserver", "kube-controller-manager", "kube-scheduler", "kubelet", "kubectl", "kube-proxy", DNS)
}

func build(ctx context.Context, say func(string), programs ...string) (Tools, error) {
	etcd, err := exec.LookPath("etcd")
	if err != nil {
		return Tools{}, fmt.Errorf("etcd is missing: install the package etcd-server: %w", err)
	}
	modules, err := moduleDir()
	if err != nil {
		return Tools{}, err
	}
	dir, err := cacheDir(modules)
	if err != nil {
		return Tools{}, err
	}
	unlock, err := lock(filepath.Join(dir, "lock"))
	if err != nil {
		return Tools{}, err
	}
	defer unlock()
	tools := Tools{Etcd: etcd, dir: dir}
	tools.APIServer, tools.KubeProxy = tools.Path("kube-apiserver"), tools.Path("kube-proxy")
	for _, name := range programs {
		if _, err := os.Stat(tools.Path(name)); err == nil {
			continue
		}
		say(fmt.Sprintf("Building %s once, into %s ...", name, dir))
		if err := compile(ctx, modules, name, tools.Path(name)); err != nil {
			return Tools{}, err
		}
	}
	return tools, nil
}

// compile builds one program, statically; it is at its path when it is whole.
func compile(ctx context.Context, modules, name, path string) error {
	pkg, module := source(name)
	cmd := exec.CommandContext(ctx, "go", "build", "-trimpath", "-o", path+".new",
		"-ldflags", "-s -w -X k8s.io/component-base/version.gitVersion="+Version, pkg)
	cmd.Dir, cmd.Env = filepath.Join(modules, module), append(os.Environ(), "CGO_ENABLED=0", "GOFLAGS=-mod=mod")
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("building %s: %w\n%s", name, err, out)
	}
	return os.Rename(path+".new", path)
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
	for _, name := range []string{"go.mod", "go.sum", "../kubernetes/coredns/go.mod", "../kubernetes/coredns/go.sum", "../kubernetes/coredns/main.go"} {
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
