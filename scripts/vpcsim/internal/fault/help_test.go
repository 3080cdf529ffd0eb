package fault

import (
	"reflect"
	"regexp"
	"strings"
	"testing"
)

// TestHelp holds that the page names all that a rule can say, and that its
// examples are rules.
func TestHelp(t *testing.T) {
	for _, part := range []any{Rule{}, Window{}, Effect{}, Error{}} {
		for f := range reflect.TypeOf(part).Fields() {
			name, _, _ := strings.Cut(f.Tag.Get("json"), ",")
			if name != "id" && !regexp.MustCompile(`\b`+name+`\b`).MatchString(Help) {
				t.Errorf("the page does not name %s of %T", name, part)
			}
		}
	}
	examples := regexp.MustCompile(`(?m)^  \{action.*\}$`).FindAllString(Help, -1)
	if len(examples) < 10 {
		t.Fatalf("%d examples found", len(examples))
	}
	for _, text := range examples {
		if _, err := Parse([]byte(text)); err != nil {
			t.Errorf("%s: %v", text, err)
		}
	}
	for line := range strings.Lines(Help) {
		if len(line) > 82 && !strings.HasPrefix(line, "  {") {
			t.Errorf("a line is too long for a terminal: %s", line)
		}
	}
}
