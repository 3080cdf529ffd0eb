package arch

import (
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"os/exec"
	"slices"
	"strings"
	"testing"
)

const module = "github.com/causeway-cni/causeway"

// pkg is a package as go list describes it. Paths inside the module are written
// relative to it, as ./config.
type pkg struct {
	ImportPath   string
	Dir          string
	GoFiles      []string
	Imports      []string
	TestImports  []string
	XTestImports []string
	Deps         []string
}

// packages are those of the module, by relative path.
type packages map[string]pkg

func load(t *testing.T) packages {
	t.Helper()
	cmd := exec.Command("go", "list", "-e", "-json=ImportPath,Dir,GoFiles,Imports,TestImports,XTestImports,Deps", module+"/...")
	cmd.Dir = "../.."
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("go list: %v\n%s", err, stderr.String())
	}
	all := packages{}
	for decoder := json.NewDecoder(bytes.NewReader(out)); ; {
		var p pkg
		if err := decoder.Decode(&p); errors.Is(err, io.EOF) {
			return all
		} else if err != nil {
			t.Fatalf("go list: %v", err)
		}
		for _, list := range [][]string{p.Imports, p.TestImports, p.XTestImports, p.Deps} {
			for i := range list {
				list[i] = relative(list[i])
			}
		}
		p.ImportPath = relative(p.ImportPath)
		all[p.ImportPath] = p
	}
}

func relative(path string) string {
	if rest, ok := strings.CutPrefix(path, module+"/"); ok {
		return "./" + rest
	}
	return path
}

// withTests is all that the package and its tests import.
func (p pkg) withTests() []string {
	return slices.Concat(p.Imports, p.TestImports, p.XTestImports)
}

// below says whether a path is root or lies under it.
func below(path, root string) bool {
	return path == root || strings.HasPrefix(path, root+"/")
}

func belowAny(path string, roots []string) bool {
	return slices.ContainsFunc(roots, func(root string) bool { return below(path, root) })
}

// standard says whether an import path is of the standard library: its first
// element has no dot.
func standard(path string) bool {
	first, _, _ := strings.Cut(path, "/")
	return !strings.Contains(first, ".")
}

// mustExist fails for names that no package has, so that no rule goes stale.
func (all packages) mustExist(t *testing.T, paths ...string) {
	t.Helper()
	for _, path := range paths {
		if _, ok := all[path]; !ok {
			t.Errorf("the rule names %s, which does not exist", path)
		}
	}
}
