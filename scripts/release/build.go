package release

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
)

// BuildPrograms compiles our programs of the image into dir, as `make build`
// does, with the version that they are to say.
func BuildPrograms(ctx context.Context, dir, version string) error {
	return buildPrograms(ctx, dir, "CGO_ENABLED=0", "-tags", "grpcnotrace", "-ldflags", "-s -w "+stamp+version)
}

// stamp is the linker's flag for the version, which follows.
const stamp = "-X github.com/causeway-cni/causeway/rpc.Version="

// BuildRace is BuildPrograms with the race detector: static, too, but linked
// with the machine's C library.
func BuildRace(ctx context.Context, dir, version string) error {
	return buildPrograms(ctx, dir, "CGO_ENABLED=1", "-race", "-tags", "grpcnotrace,netgo,osusergo",
		"-ldflags", "-linkmode external -extldflags -static "+stamp+version)
}

func buildPrograms(ctx context.Context, dir, cgo string, flags ...string) error {
	for name, pkg := range map[string]string{"ipamd": "./ipamd", "causeway-cni": "./cni-plugin"} {
		args := append([]string{"build", "-trimpath"}, flags...)
		cmd := exec.CommandContext(ctx, "go", append(args, "-o", filepath.Join(dir, name), pkg)...)
		cmd.Dir, cmd.Env = sourceDir(), append(os.Environ(), cgo)
		if out, err := cmd.CombinedOutput(); err != nil {
			return fmt.Errorf("building %s: %w\n%s", name, err, out)
		}
	}
	return nil
}
