package limits

import (
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/causeway-cni/causeway/ipamd/internal/pool"
)

// TestOf also has the pods that EKS documents for a type, ENIs * (addresses -
// 1) + 2: a check of the table against numbers published elsewhere.
func TestOf(t *testing.T) {
	tests := []struct {
		name string
		want pool.Limits
		pods int
	}{
		{"t3.nano", pool.Limits{ENIs: 2, AddressesPerENI: 2, Prefixes: true}, 4},
		{"t3.micro", pool.Limits{ENIs: 2, AddressesPerENI: 2, Prefixes: true}, 4},
		{"t3.small", pool.Limits{ENIs: 3, AddressesPerENI: 4, Prefixes: true}, 11},
		{"t3.medium", pool.Limits{ENIs: 3, AddressesPerENI: 6, Prefixes: true}, 17},
		{"m5.large", pool.Limits{ENIs: 3, AddressesPerENI: 10, Prefixes: true}, 29},
		{"c5.large", pool.Limits{ENIs: 3, AddressesPerENI: 10, Prefixes: true}, 29},
		{"m5.xlarge", pool.Limits{ENIs: 4, AddressesPerENI: 15, Prefixes: true}, 58},
		{"m5.4xlarge", pool.Limits{ENIs: 8, AddressesPerENI: 30, Prefixes: true}, 234},
		{"m5.24xlarge", pool.Limits{ENIs: 15, AddressesPerENI: 50, Prefixes: true}, 737},
		{"m4.large", pool.Limits{ENIs: 2, AddressesPerENI: 10}, 20},
		{"m7g.medium", pool.Limits{ENIs: 2, AddressesPerENI: 4, Prefixes: true}, 8},
		// 32 network cards with 2 ENIs each: the default card counts.
		{"p5.48xlarge", pool.Limits{ENIs: 2, AddressesPerENI: 50, Prefixes: true}, 100},
	}
	for _, tt := range tests {
		got, ok := Of(tt.name)
		if diff := cmp.Diff(tt.want, got); diff != "" || !ok {
			t.Errorf("%s: found %v (-want +got)\n%s", tt.name, ok, diff)
		}
		if pods := got.ENIs*(got.AddressesPerENI-1) + 2; pods != tt.pods {
			t.Errorf("%s: %d pods, want %d", tt.name, pods, tt.pods)
		}
	}
	for _, unknown := range []string{"", "m5", "m5.large ", "large", "x99.large"} {
		if got, ok := Of(unknown); ok {
			t.Errorf("%q: found %+v, want nothing", unknown, got)
		}
	}
}

func TestTable(t *testing.T) {
	var names []string
	for line := range strings.Lines(table) {
		name, numbers, _ := strings.Cut(line, " ")
		if l, ok := parse(numbers); !ok {
			t.Errorf("line %q reads as %+v", line, l)
		}
		names = append(names, name)
	}
	if len(names) < 1000 || !slices.IsSorted(names) || len(slices.Compact(names)) != len(names) {
		t.Errorf("the table has %d names, want over 1000, sorted, each once", len(names))
	}
}
