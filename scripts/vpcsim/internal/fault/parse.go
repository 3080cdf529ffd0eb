package fault

import (
	"bytes"
	"fmt"

	"sigs.k8s.io/yaml"
)

// Parse reads one rule or a list of rules, YAML or JSON. Unknown fields,
// repeated fields and rules that Validate refuses are errors.
func Parse(data []byte) ([]Rule, error) {
	var rules []Rule
	if isList(data) {
		if err := yaml.UnmarshalStrict(data, &rules); err != nil {
			return nil, fmt.Errorf("reading fault rules: %w", err)
		}
	} else {
		var one Rule
		if err := yaml.UnmarshalStrict(data, &one); err != nil {
			return nil, fmt.Errorf("reading a fault rule: %w", err)
		}
		rules = []Rule{one}
	}
	for i, r := range rules {
		if err := r.Validate(); err != nil {
			return nil, fmt.Errorf("fault rule %d: %w", i+1, err)
		}
	}
	return rules, nil
}

func isList(data []byte) bool {
	for line := range bytes.Lines(data) {
		line = bytes.TrimSpace(line)
		if len(line) == 0 || line[0] == '#' || bytes.Equal(line, []byte("---")) {
			continue
		}
		return line[0] == '[' || line[0] == '-'
	}
	return false
}
