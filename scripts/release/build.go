package release

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
)

// BuildPrograms compiles our programs of the image into dir, as `make build`
// does.
func BuildPrograms(ctx context.Context, dir string) error {
	for name, pkg := range map[string]string{"ipamd": "./ipamd", "causeway-cni": "./cni-plugin"} {
		cmd := exec.CommandContext(ctx, "go", "build", "-trimpath", "-tags", "grpcnotrace", "-ldflags", "-s -w", "-o", filepath.Join(dir, name), pkg)
		cmd.Dir, cmd.Env = sourceDir(), append(os.Environ(), "CGO_ENABLED=0")
		if out, err := cmd.CombinedOutput(); err != nil {
			return fmt.Errorf("building %s: %w\n%s", name, err, out)
		}
	}
	return nil
}
