package budget

import (
	"strings"
	"testing"
)

func TestParseSwitches(t *testing.T) {
	for _, test := range []struct {
		name    string
		texts   map[string]string
		want    Switches
		refused string // part of the error
	}{
		{"none", nil, Switches{}, ""},
		{"one", map[string]string{"stop-releasing": "true\n"}, Switches{StopReleasing: true}, ""},
		{"both", map[string]string{"stop-releasing": "false", "stop-calling-ec2": "true"}, Switches{StopCalling: true}, ""},
		{"no value", map[string]string{"stop-releasing": ""}, Switches{}, `stop-releasing="": want true or false`},
		{"bad value", map[string]string{"stop-releasing": "true", "stop-calling-ec2": "yes"}, Switches{}, `stop-calling-ec2="yes": want true or false`},
		{"no switch", map[string]string{"stop-it": "true"}, Switches{}, `no switch "stop-it": want stop-calling-ec2 or stop-releasing`},
	} {
		got, err := ParseSwitches(test.texts)
		if got != test.want {
			t.Errorf("%s: %+v, want %+v", test.name, got, test.want)
		}
		if (err == nil) != (test.refused == "") || err != nil && !strings.Contains(err.Error(), test.refused) {
			t.Errorf("%s: error %v, want %q", test.name, err, test.refused)
		}
	}
}
