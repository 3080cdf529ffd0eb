package fleet

import (
	"go/ast"
	"go/parser"
	"go/printer"
	"go/token"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// constants are those that a file declares, as they are written.
func constants(t *testing.T, path string) map[string]string {
	t.Helper()
	files := token.NewFileSet()
	file, err := parser.ParseFile(files, path, nil, 0)
	if err != nil {
		t.Fatal(err)
	}
	found := map[string]string{}
	ast.Inspect(file, func(n ast.Node) bool {
		spec, ok := n.(*ast.ValueSpec)
		if !ok {
			return true
		}
		for i, name := range spec.Names {
			if i >= len(spec.Values) {
				break
			}
			var text strings.Builder
			if err := printer.Fprint(&text, files, spec.Values[i]); err != nil {
				t.Fatal(err)
			}
			found[name.Name] = text.String()
		}
		return true
	})
	return found
}

// TestRules holds that the nodes of the fleet go by the daemon's rules.
func TestRules(t *testing.T) {
	ours := constants(t, "node_test.go")
	for path, names := range map[string][]string{
		"../allocator/step.go": {"calm", "resync", "following", "callTimeout", "lag", "redescribe"},
		"../ec2/ec2.go":        {"attempts", "backoff"},
		"../../nat.go":         {"truthEvery"},
	} {
		theirs := constants(t, path)
		want, got := map[string]string{}, map[string]string{}
		for _, name := range names {
			want[name], got[name] = theirs[name], ours[name]
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("%s (-want +got)\n%s", path, diff)
		}
	}
}
