//go:build cluster

package stories

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"
)

// tools are what users have kubectl for, as `make cluster` proposes it; but here
// in a namespace of its own, and from any free port.
func tools(s story) {
	config := filepath.Join(s.TempDir(), "kubeconfig")
	text, err := os.ReadFile(s.cluster.Kubeconfig())
	if err == nil {
		err = os.WriteFile(config, text, 0o600)
	}
	if err != nil {
		s.Fatal(err)
	}
	lines := append([]string{"kubectl config set-context --current --namespace=" + s.space}, s.cluster.WhatToTry()...)
	lines[0], lines[1] = strings.ReplaceAll(lines[1], s.cluster.Kubeconfig(), config), lines[0]
	ctx, cancel := context.WithTimeout(s.ctx, 3*time.Minute)
	defer cancel()
	said, err := exec.CommandContext(ctx, "bash", "-exc", strings.Join(lines[:len(lines)-1], "\n")).CombinedOutput()
	if err != nil {
		s.Fatalf("%v:\n%s", err, said)
	}
	for _, want := range []string{"Ready", "service/web exposed", `http client=`, `tcp client=`, "tcp client=" + internetAddr.String(), "Normal  Started", "Scheduled"} {
		if !strings.Contains(string(said), want) {
			s.Errorf("what users try does not say %q:\n%s", want, said)
		}
	}
	cmd := exec.CommandContext(s.ctx, s.cluster.KubectlPath(), "--kubeconfig", s.cluster.Kubeconfig(), "-n", s.space, "port-forward", "deployment/web", ":80", "--address", "127.0.0.1")
	out, err := cmd.StdoutPipe()
	if err != nil {
		s.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		s.Fatal(err)
	}
	defer func() { _ = cmd.Process.Kill(); _ = cmd.Wait() }()
	var port int
	line, err := bufio.NewReader(out).ReadString('\n')
	if _, err2 := fmt.Sscanf(line, "Forwarding from 127.0.0.1:%d", &port); err != nil || err2 != nil {
		s.Fatalf("kubectl port-forward says %q: %v, %v", line, err, err2)
	}
	answer, err := http.Get(fmt.Sprintf("http://127.0.0.1:%d/", port))
	if err != nil {
		s.Fatal(err)
	}
	defer answer.Body.Close()
	if text, err := io.ReadAll(answer.Body); err != nil || !strings.Contains(string(text), `"host":"web-`) {
		s.Errorf("through kubectl port-forward: %q, %v; want the answer of a web pod", text, err)
	}
}
