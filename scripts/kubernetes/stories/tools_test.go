//go:build cluster

package stories

import (
	"bufio"
	"fmt"
	"io"
	"net/http"
	"os/exec"
	"strings"
)

// tools are what users have kubectl for.
func tools(s story) {
	s.web(1)
	s.eventually("logs", func() error {
		_, err := s.cluster.Kubectl(s.ctx, "-n", s.space, "logs", "deployment/web")
		return err
	})
	if got := s.kubectl("exec", "deployment/web", "--", "vpcsim", "probe", "http", "127.0.0.1:80"); !strings.Contains(got, "127.0.0.1") {
		s.Errorf("kubectl exec says %q; want an answer of 127.0.0.1", got)
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
