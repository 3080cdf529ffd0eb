package service

import "testing"

func TestParseAddr(t *testing.T) {
	for in, want := range map[string]string{
		"10.0.0.1":         "10.0.0.1",
		"010.000.0.01":     "10.0.0.1",
		" 10.0.0.1 ":       "10.0.0.1",
		"::ffff:10.0.0.1":  "10.0.0.1",
		"FD00::1":          "fd00::1",
		"fd00:0:0:0::0001": "fd00::1",
		"fe80::1%eth0":     "",
		"None":             "",
		"":                 "",
		"10..0.1":          "",
		"10.0.0.256":       "",
	} {
		got, err := ParseAddr(in)
		if (err == nil) != (want != "") || err == nil && got.String() != want {
			t.Errorf("ParseAddr(%q) = %v, %v, want %q", in, got, err, want)
		}
	}
}

func TestParsePrefix(t *testing.T) {
	for in, want := range map[string]string{
		"10.0.0.0/8":         "10.0.0.0/8",
		"010.01.002.3/016":   "",
		"010.01.002.3/16":    "10.1.0.0/16",
		" 203.0.113.0/25":    "203.0.113.0/25",
		"0.0.0.0/0":          "0.0.0.0/0",
		"fd00::1/64":         "fd00::/64",
		"::ffff:10.0.0.0/96": "",
		"10.0.0.0":           "",
		"10.0.0.0/33":        "",
	} {
		got, err := ParsePrefix(in)
		if (err == nil) != (want != "") || err == nil && got.String() != want {
			t.Errorf("ParsePrefix(%q) = %v, %v, want %q", in, got, err, want)
		}
	}
}

func FuzzParse(f *testing.F) {
	f.Add("010.0.0.1/8")
	f.Add("fd00::1")
	f.Fuzz(func(t *testing.T, s string) {
		if a, err := ParseAddr(s); err == nil && FamilyOf(a) == OtherFamily {
			t.Errorf("%q: no family", s)
		}
		if p, err := ParsePrefix(s); err == nil && p.Masked() != p {
			t.Errorf("%q: host bits in %s", s, p)
		}
	})
}
