package config

import (
	"flag"
	"os"
	"reflect"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

var update = flag.Bool("update", false, "write the golden files anew")

// TestPages holds the page that the daemon prints, that of the documentation,
// and the schema of the chart's values to the table.
func TestPages(t *testing.T) {
	schema, err := Schema()
	if err != nil {
		t.Fatal(err)
	}
	for golden, got := range map[string]string{
		"testdata/settings.txt": Page(), "../docs/settings.md": Markdown(), "chart/values.schema.json": string(schema),
	} {
		if *update {
			if err := os.WriteFile(golden, []byte(got), 0o644); err != nil {
				t.Fatal(err)
			}
		}
		want, err := os.ReadFile(golden)
		if err != nil {
			t.Fatal(err)
		}
		if d := cmp.Diff(string(want), got); d != "" {
			t.Errorf("%s; `go test ./config -update` writes it anew (-want +got):\n%s", golden, d)
		}
	}
}

// TestTableIsWhole wants every field of Config in the table, every name of the
// table to be a field, and each variable once.
func TestTableIsWhole(t *testing.T) {
	fields := map[string]bool{}
	for i := range reflect.TypeFor[Config]().NumField() {
		group := reflect.TypeFor[Config]().Field(i)
		for j := range group.Type.NumField() {
			fields[group.Name+"."+group.Type.Field(j).Name] = false
		}
	}
	variables := map[string]bool{}
	for _, s := range settings() {
		if variables[s.variable] {
			t.Errorf("%s has two rows", s.variable)
		}
		variables[s.variable] = true
		if _, ok := fields[s.name]; !ok && s.name != "" {
			t.Errorf("%s: Config has no field %s", s.variable, s.name)
		}
		fields[s.name] = true
		if s.accepts == "" || s.meaning == "" || strings.ContainsAny(s.accepts+s.meaning, "\t\n") {
			t.Errorf("%s: accepts %q, meaning %q", s.variable, s.accepts, s.meaning)
		}
	}
	for name, set := range fields {
		if !set {
			t.Errorf("no variable sets %s", name)
		}
	}
}
