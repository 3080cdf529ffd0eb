package awsnode

import (
	"flag"
	"net/netip"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/causeway-cni/causeway/ipamd/internal/pool"
)

var update = flag.Bool("update", false, "write the golden file anew")

const golden = "testdata/ipam.json"

// compare knows addresses.
var compare = cmp.Options{cmpopts.EquateComparable(netip.Addr{}), cmpopts.EquateEmpty()}

// pods are those of the golden file.
func pods() []pool.Assignment {
	return []pool.Assignment{
		{Key: pool.Key{Network: "aws-cni", ContainerID: "c1", Interface: "eth0"}, Pod: pool.Pod{Namespace: "default", Name: "web-0"},
			Link: "eni0d7763386da", Address: netip.MustParseAddr("10.0.0.5"), Since: time.Date(2026, 1, 2, 3, 4, 5, 6, time.UTC), Adopted: true},
		{Key: pool.Key{Network: "_migrated-from-cri", ContainerID: "c2", Interface: "unknown"}, Pod: pool.Pod{Namespace: "kube-system", Name: "coredns-<1>"},
			Link: "eni9380f04bc89", Address: netip.MustParseAddr("10.0.0.6"), Since: time.Unix(0, 0).UTC(), Adopted: true},
	}
}

func TestGolden(t *testing.T) {
	text, written, refused, err := Format(pods())
	if err != nil || written != 2 || len(refused) > 0 {
		t.Fatal(written, refused, err)
	}
	if *update {
		if err := os.WriteFile(golden, text, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(golden)
	if err != nil {
		t.Fatal(err)
	}
	if d := cmp.Diff(string(want), string(text)); d != "" {
		t.Errorf("file (-want +got):\n%s", d)
	}
	got, refused, err := Parse(want, "eni")
	if err != nil || len(refused) > 0 {
		t.Fatal(refused, err)
	}
	if d := cmp.Diff(pods(), got, compare); d != "" {
		t.Errorf("assignments (-want +got):\n%s", d)
	}
}

func TestNothingIsAList(t *testing.T) {
	text, _, _, err := Format(nil)
	if want := `{"version":"vpc-cni-ipam/1","allocations":[]}` + "\n"; string(text) != want || err != nil {
		t.Errorf("%s, error %v; want %s", text, err, want)
	}
}

func TestParseRefusesFile(t *testing.T) {
	for text, want := range map[string]string{
		``:                   "want a JSON object",
		`[]`:                 "want a JSON object",
		`{"version": "vpc`:   "want a JSON object",
		`{}`:                 `version is "", want "vpc-cni-ipam/1"`,
		`{"allocations":[]}`: `version is "", want "vpc-cni-ipam/1"`,
		`{"version":"vpc-cni-ipam/2","allocations":[{"ipv4":"10.0.0.5"}]}`: `version is "vpc-cni-ipam/2", want "vpc-cni-ipam/1"`,
	} {
		held, refused, err := Parse([]byte(text), "eni")
		if err == nil || !strings.Contains(err.Error(), want) || held != nil || refused != nil {
			t.Errorf("%s: %v, %v, error %v; want one with %q", text, held, refused, err, want)
		}
	}
}

// file is one with a good entry and these.
func file(entries ...string) []byte {
	good := `{"networkName":"aws-cni","containerID":"c1","ifName":"eth0","ipv4":"10.0.0.5","allocationTimestamp":1767323045000000006,
		"metadata":{"k8sPodNamespace":"default","k8sPodName":"web-0"}}`
	return []byte(`{"version":"vpc-cni-ipam/1","allocations":[` + strings.Join(append(entries, good), ",") + `]}`)
}

// A node of an IPv6 cluster has the same file, with the addresses in ipv6.
func TestIPv6(t *testing.T) {
	want := pods()
	want[0].Address, want[1].Address = netip.MustParseAddr("2001:db8::5"), netip.MustParseAddr("2001:db8::6")
	text, _, refused, err := Format(want)
	if err != nil || len(refused) > 0 || !strings.Contains(string(text), `"ipv6":"2001:db8::5"`) || strings.Contains(string(text), "ipv4") {
		t.Fatalf("%s, refused %v, error %v", text, refused, err)
	}
	got, refused, err := Parse(text, "eni")
	if d := cmp.Diff(want, got, compare); d != "" || err != nil || len(refused) > 0 {
		t.Errorf("refused %v, error %v, assignments (-want +got):\n%s", refused, err, d)
	}
}

func TestParseKeepsGoodEntries(t *testing.T) {
	const rest = `"allocationTimestamp":1,"metadata":{"k8sPodNamespace":"default","k8sPodName":"x"}`
	for _, test := range []struct{ name, entry, want string }{
		{"no address", `{"containerID":"c2","ifName":"eth0",` + rest + `}`, `ipv4 is "" and ipv6 is ""`},
		{"address that is none", `{"containerID":"c2","ifName":"eth0","ipv4":"10.0.0",` + rest + `}`, `address "10.0.0" of container "c2", pod "default/x": allocations[0]: ipv4 is "10.0.0"`},
		{"both families", `{"containerID":"c2","ifName":"eth0","ipv4":"10.0.0.6","ipv6":"2001:db8::1",` + rest + `}`, `ipv6 is "2001:db8::1"`},
		{"IPv6 as IPv4", `{"containerID":"c2","ifName":"eth0","ipv4":"2001:db8::1",` + rest + `}`, `ipv4 is "2001:db8::1"`},
		{"no container", `{"ifName":"eth0","ipv4":"10.0.0.6",` + rest + `}`, `containerID is ""`},
		{"no interface", `{"containerID":"c2","ipv4":"10.0.0.6",` + rest + `}`, `ifName is ""`},
		{"no pod", `{"containerID":"c2","ifName":"eth0","ipv4":"10.0.0.6","metadata":{"k8sPodNamespace":"default"}}`, `metadata.k8sPodName is ""`},
		{"no namespace", `{"containerID":"c2","ifName":"eth0","ipv4":"10.0.0.6","metadata":{"k8sPodName":"x"}}`, `metadata.k8sPodNamespace is ""`},
		{"another type", `{"containerID":7,"ifName":"eth0","ipv4":"10.0.0.6",` + rest + `}`, `address "10.0.0.6" of container "", pod "default/x": allocations[0]: json: cannot unmarshal number`},
		{"not an object", `17`, `allocations[0]: json: cannot unmarshal number`},
		{"older holder of the address", `{"containerID":"c2","ifName":"eth0","ipv4":"10.0.0.5",` + rest + `}`, `address "10.0.0.5" of container "c2", pod "default/x": container "c1" has 10.0.0.5 since 2026-01-02T03:04:05Z`},
		{"older address of the container", `{"networkName":"aws-cni","containerID":"c1","ifName":"eth0","ipv4":"10.0.0.6",` + rest + `}`, `address "10.0.0.6" of container "c1", pod "default/x": container "c1" has 10.0.0.5`},
	} {
		held, refused, err := Parse(file(test.entry), "eni")
		if err != nil {
			t.Fatalf("%s: %v", test.name, err)
		}
		if d := cmp.Diff(pods()[:1], held, compare); d != "" {
			t.Errorf("%s: the good entry (-want +got):\n%s", test.name, d)
		}
		if len(refused) != 1 || !strings.Contains(refused[0].Error(), test.want) {
			t.Errorf("%s: refused %v, want one with %q", test.name, refused, test.want)
		}
	}
}

func TestFormatRefuses(t *testing.T) {
	for want, change := range map[string]func(*pool.Assignment){
		"one address of a pod":   func(a *pool.Assignment) { a.Second = netip.MustParseAddr("2001:db8::1") },
		"not known whose":        func(a *pool.Assignment) { a.Pod = pool.Pod{} },
		`link is "enidifferent"`: func(a *pool.Assignment) { a.Link = "enidifferent" },
	} {
		held := pods()
		change(&held[0])
		text, written, refused, err := Format(held)
		if err != nil || written != 1 || len(refused) != 1 || !strings.Contains(refused[0].Error(), want) {
			t.Errorf("wrote %d, refused %v, error %v; want one with %q", written, refused, err, want)
		}
		if got, _, err := Parse(text, "eni"); err != nil || !cmp.Equal(got, pods()[1:], compare) {
			t.Errorf("%s: the file has %v, error %v", want, got, err)
		}
	}
}

// FuzzParse holds that what is read can be written and read again, and that no
// address and no key comes out twice.
func FuzzParse(f *testing.F) {
	text, err := os.ReadFile(golden)
	if err != nil {
		f.Fatal(err)
	}
	f.Add(text)
	f.Add(file(`17`, `{"containerID":"c1","ifName":"eth0","ipv4":"10.0.0.6","allocationTimestamp":-1,"metadata":{"k8sPodNamespace":"a","k8sPodName":"b"}}`))
	f.Fuzz(func(t *testing.T, text []byte) {
		held, _, err := Parse(text, "eni")
		if err != nil {
			return
		}
		addresses, keys := map[netip.Addr]bool{}, map[pool.Key]bool{}
		for _, a := range held {
			if addresses[a.Address] || keys[a.Key] || !a.Address.Is4() {
				t.Fatalf("%+v comes twice, or should not", a)
			}
			addresses[a.Address], keys[a.Key] = true, true
		}
		again, written, refused, err := Format(held)
		if err != nil || written != len(held) || len(refused) > 0 {
			t.Fatalf("wrote %d of %d, refused %v, error %v", written, len(held), refused, err)
		}
		got, _, err := Parse(again, "eni")
		if err != nil || !slices.EqualFunc(got, held, func(a, b pool.Assignment) bool { return cmp.Equal(a, b, compare) }) {
			t.Errorf("read again, error %v (-want +got):\n%s", err, cmp.Diff(held, got, compare))
		}
	})
}
