package limits

import "testing"

func TestTable(t *testing.T) {
	table, err := Table()
	if err != nil {
		t.Fatal(err)
	}
	if len(table) != 1391 {
		t.Errorf("%d types, want 1391", len(table))
	}
	tests := []struct {
		name             string
		interfaces, ipv4 int
		prefixes         bool
	}{
		{"m5.large", 3, 10, true},
		{"t2.micro", 2, 2, false},
		{"m5.metal", 15, 50, true},
		{"p4d.24xlarge", 60, 50, true},
	}
	for _, tt := range tests {
		it := table[tt.name]
		if it.MaxInterfaces() != tt.interfaces || it.IPv4 != tt.ipv4 || it.Prefixes() != tt.prefixes {
			t.Errorf("%s: %d interfaces, %d addresses, prefixes %v; want %+v", tt.name, it.MaxInterfaces(), it.IPv4, it.Prefixes(), tt)
		}
	}
	if _, ok := table["m5.large"].Card(1); ok {
		t.Error("m5.large has a card 1")
	}
}
