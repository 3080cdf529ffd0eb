package arch

import (
	"go/ast"
	"go/parser"
	"go/token"
	"path/filepath"
	"slices"
	"testing"
)

// clock names what reads or spends time in package time.
var clock = []string{"After", "AfterFunc", "NewTicker", "NewTimer", "Now", "Since", "Sleep", "Tick", "Until"}

// finding is a place in the source and what is wrong there.
type finding struct {
	where token.Position
	what  string
}

// source looks at each hand-written file of a package. check is called for
// each node.
func source(t *testing.T, p pkg, check func(ast.Node) (what string)) []finding {
	t.Helper()
	var found []finding
	for _, name := range p.GoFiles {
		files := token.NewFileSet()
		file, err := parser.ParseFile(files, filepath.Join(p.Dir, name), nil, parser.ParseComments)
		if err != nil {
			t.Fatal(err)
		}
		if ast.IsGenerated(file) {
			continue
		}
		ast.Inspect(file, func(n ast.Node) bool {
			if what := check(n); what != "" {
				found = append(found, finding{files.Position(n.Pos()), what})
			}
			return true
		})
	}
	return found
}

// uses returns the name that a node selects from a package, if it does.
func uses(n ast.Node, pkg string) string {
	selector, ok := n.(*ast.SelectorExpr)
	if !ok {
		return ""
	}
	if ident, ok := selector.X.(*ast.Ident); !ok || ident.Name != pkg || ident.Obj != nil {
		return ""
	}
	return selector.Sel.Name
}

func TestPurePackagesHaveNoClock(t *testing.T) {
	all := load(t)
	for _, path := range pure {
		found := source(t, all[path], func(n ast.Node) string {
			if name := uses(n, "time"); slices.Contains(clock, name) {
				return "time." + name + ": a pure package is told the time"
			}
			if _, ok := n.(*ast.GoStmt); ok {
				return "go: a pure package starts nothing"
			}
			return ""
		})
		report(t, found)
	}
}

func TestEnvironmentIsReadInConfig(t *testing.T) {
	for path, p := range load(t) {
		if below(path, "./scripts") || below(path, "./config") || path == "./ipamd" {
			continue // main hands its environment to config
		}
		report(t, source(t, p, func(n ast.Node) string {
			if name := uses(n, "os"); slices.Contains([]string{"Getenv", "LookupEnv", "Environ", "ExpandEnv"}, name) {
				return "os." + name + ": settings are read once, in package config"
			}
			return ""
		}))
	}
}

func TestNothingStartsByImport(t *testing.T) {
	for _, p := range load(t) {
		report(t, source(t, p, func(n ast.Node) string {
			if f, ok := n.(*ast.FuncDecl); ok && f.Recv == nil && f.Name.Name == "init" {
				return "func init: main lists all that is set up"
			}
			return ""
		}))
	}
}

func TestProtocolHoldsNoLogic(t *testing.T) {
	all := load(t)
	all.mustExist(t, "./rpc")
	report(t, source(t, all["./rpc"], func(n ast.Node) string {
		if f, ok := n.(*ast.FuncDecl); ok {
			return "func " + f.Name.Name + ": rpc is generated code, and names"
		}
		return ""
	}))
}

func report(t *testing.T, found []finding) {
	t.Helper()
	for _, f := range found {
		t.Errorf("%s: %s", f.where, f.what)
	}
}
