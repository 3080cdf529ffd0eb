package release

import (
	"bytes"
	"context"
	"fmt"
	"os/exec"
	"path/filepath"
	"runtime"

	corev1 "k8s.io/api/core/v1"
)

// Manifests renders the chart with these values, each as Helm's --set takes it,
// for a release named causeway in kube-system.
func Manifests(ctx context.Context, values ...string) ([]byte, error) {
	return ManifestsOf(ctx, "causeway", values...)
}

// ManifestsOf is Manifests for a release of another name. It builds Helm's engine
// first, which takes a minute once.
func ManifestsOf(ctx context.Context, name string, values ...string) ([]byte, error) {
	source := sourceDir()
	args := []string{"run", ".", "-name", name}
	for _, v := range values {
		args = append(args, "-set", v)
	}
	cmd := exec.CommandContext(ctx, "go", append(args, filepath.Join(source, "config", "chart"))...)
	cmd.Dir = filepath.Join(source, "scripts", "tools", "helm")
	var out, complaint bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &complaint
	if err := cmd.Run(); err != nil {
		return nil, fmt.Errorf("rendering the chart with %q: %w\n%s", values, err, complaint.Bytes())
	}
	return out.Bytes(), nil
}

// sourceDir is the root of the source tree.
func sourceDir() string {
	_, here, _, _ := runtime.Caller(0)
	return filepath.Join(filepath.Dir(here), "..", "..")
}

// Capabilities are all that the daemon's container has; a story of scripts/e2e
// shows that it needs each, and no other.
var Capabilities = []corev1.Capability{"NET_ADMIN", "NET_RAW"}
