package checkpoint

import (
	"errors"
	"io/fs"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/causeway-cni/causeway/ipamd/internal/pool"
)

func open(t *testing.T, dir string) *Store {
	t.Helper()
	s, err := Open(dir)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func assignment(address string) pool.Assignment {
	return pool.Assignment{
		Key: pool.Key{Network: "aws-cni", ContainerID: "c1", Interface: "eth0"}, Pod: pool.Pod{Namespace: "default", Name: "web", UID: "u"},
		Netns: "/run/netns/x", Link: "eni0123456789a", MTU: 9001, Address: netip.MustParseAddr(address), ENI: "eni-1", Device: 2,
		Since: time.Date(2026, 1, 2, 3, 4, 5, 6, time.UTC),
	}
}

func TestWhatIsWrittenIsRead(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "book")
	s := open(t, dir)
	a := assignment("10.0.0.5")
	a.Ports = []pool.HostPort{
		{Port: 8080, Container: 80, Protocol: "tcp"},
		{Addr: netip.MustParseAddr("192.0.2.1"), Port: 53, Container: 5353, Protocol: "udp"},
	}
	a.Second = netip.MustParseAddr("2001:db8::5")
	until := time.Date(2026, 1, 2, 3, 5, 0, 0, time.UTC)
	must(t, s.Assign(a))
	must(t, s.Cool(netip.MustParseAddr("10.0.0.6"), until))
	must(t, s.Assign(assignment("10.0.0.7")))
	must(t, s.Forget(netip.MustParseAddr("10.0.0.7")))
	must(t, s.Forget(netip.MustParseAddr("10.0.0.7")))
	must(t, os.WriteFile(filepath.Join(dir, ".new-10.0.0.9"), []byte(`{"sta`), 0o600)) // a crash
	got, unreadable, err := open(t, dir).Load()
	if err != nil || len(unreadable) > 0 {
		t.Fatal(err, unreadable)
	}
	want := []Record{{Assignment: &a, Address: a.Address}, {Address: netip.MustParseAddr("10.0.0.6"), Until: until}}
	if diff := cmp.Diff(want, got, cmpopts.EquateComparable(netip.Addr{})); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	if _, err := os.Stat(filepath.Join(dir, ".new-10.0.0.9")); err == nil {
		t.Error("a half-written file was left")
	}
}

func TestADamagedFileIsSetAside(t *testing.T) {
	dir := t.TempDir()
	s := open(t, dir)
	for name, text := range map[string]string{
		"10.0.0.5": `{"state":"assi`, "10.0.0.6": `{"state":"assigned"}`, "readme": "hello",
		"10.0.0.7": `{"state":"assigned","containerID":"c","interface":"eth0","since":"2026-01-02T03:04:05Z","hostPorts":[{"hostIP":"here"}]}`,
		"10.0.0.8": `{"state":"assigned","containerID":"c","interface":"eth0","since":"2026-01-02T03:04:05Z","second":"here"}`,
	} {
		must(t, os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600))
	}
	got, unreadable, err := s.Load()
	must(t, err)
	if len(got) != 4 || got[2].Assignment != nil || got[3].Assignment != nil || len(unreadable) != 5 {
		t.Fatalf("records %v, unreadable %v", got, unreadable)
	}
	if !strings.Contains(unreadable[1].Error(), "10.0.0.6") || !strings.Contains(unreadable[1].Error(), "containerID") {
		t.Errorf("the error does not say what is wrong: %v", unreadable[1])
	}
	if _, again, _ := s.Load(); len(again) != 0 {
		t.Errorf("set aside, and yet read again: %v", again)
	}
}

func TestAFailedWriteLeavesTheOldRecord(t *testing.T) {
	dir := t.TempDir()
	s := open(t, dir)
	a := assignment("10.0.0.5")
	must(t, s.Assign(a))
	must(t, os.Mkdir(filepath.Join(dir, ".new-10.0.0.5"), 0o700)) // the name is taken
	if err := s.Cool(a.Address, time.Now()); err == nil || !strings.Contains(err.Error(), "10.0.0.5") {
		t.Errorf("got %v", err)
	}
	must(t, os.RemoveAll(filepath.Join(dir, ".new-10.0.0.5")))
	got, _, err := s.Load()
	must(t, err)
	if len(got) != 1 || got[0].Assignment == nil {
		t.Errorf("got %v", got)
	}
}

func FuzzParse(f *testing.F) {
	f.Add([]byte(`{"state":"assigned","containerID":"c","interface":"eth0","since":"2026-01-02T03:04:05Z"}`))
	f.Add([]byte(`{"state":"assigned","containerID":"c","interface":"eth0","since":"2026-01-02T03:04:05Z","hostPorts":[{"hostIP":"192.0.2.1","hostPort":1}]}`))
	f.Add([]byte(`{"state":"assigned","containerID":"c","interface":"eth0","since":"2026-01-02T03:04:05Z","second":"2001:db8::1"}`))
	f.Add([]byte(`{"state":"cooling","until":"2026-01-02T03:04:05Z"}`))
	address := netip.MustParseAddr("10.0.0.5")
	f.Fuzz(func(t *testing.T, text []byte) {
		r, err := parse(address, text, "x")
		if r.Address != address {
			t.Errorf("address %s", r.Address)
		}
		if err == nil && r.Assignment == nil && r.Until.IsZero() && !strings.Contains(string(text), "0001") {
			t.Errorf("%q gave nothing and no error", text)
		}
	})
}

func TestENIsAreKept(t *testing.T) {
	s := open(t, t.TempDir())
	if enis, err := s.ENIs(); err != nil || len(enis) != 0 {
		t.Fatalf("never kept: %v, %v", enis, err)
	}
	want := []pool.ENI{{
		ID: "eni-1", MAC: "02:00:00:00:00:01", Device: 1, AttachmentID: "eni-attach-1", Status: pool.Attached, Subnet: "subnet-1",
		SubnetCIDR: netip.MustParsePrefix("10.0.0.0/24"), SecurityGroups: []string{"sg-1"}, Address: netip.MustParseAddr("10.0.0.4"),
		Addresses: []netip.Addr{netip.MustParseAddr("10.0.0.5")}, Tags: map[string]string{"a": "b"},
		Created: time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC),
	}}
	must(t, s.KeepENIs(want))
	got, err := s.ENIs()
	must(t, err)
	if diff := cmp.Diff(want, got, cmpopts.EquateComparable(netip.Addr{}, netip.Prefix{})); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	if records, unreadable, err := s.Load(); err != nil || len(records)+len(unreadable) > 0 {
		t.Errorf("read as part of the book: %v, %v, %v", records, unreadable, err)
	}
}

// A reader beside a daemon sees what is whole, and leaves everything in place.
func TestReadChangesNothing(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "book")
	if _, _, err := Read(dir); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("no book: error %v, want fs.ErrNotExist", err)
	}
	s := open(t, dir)
	if described, err := s.Described(); err != nil || described {
		t.Errorf("a new book: described %t, error %v", described, err)
	}
	a := assignment("10.0.0.5")
	must(t, s.Assign(a))
	must(t, s.KeepENIs([]pool.ENI{{ID: "eni-1"}}))
	if described, err := s.Described(); err != nil || !described {
		t.Errorf("a book with ENIs: described %t, error %v", described, err)
	}
	for name, text := range map[string]string{".new-10.0.0.9": `{"sta`, "10.0.0.6": "{", "10.0.0.7.damaged": "{"} {
		must(t, os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600))
	}
	list := func() (names []string) {
		entries, err := os.ReadDir(dir)
		must(t, err)
		for _, e := range entries {
			names = append(names, e.Name())
		}
		return names
	}
	before := list()
	got, unreadable, err := Read(dir)
	if err != nil || len(unreadable) != 1 || !strings.Contains(unreadable[0].Error(), "10.0.0.6") {
		t.Errorf("error %v, unreadable %v; want 10.0.0.6", err, unreadable)
	}
	want := []Record{{Assignment: &a, Address: a.Address}, {Address: netip.MustParseAddr("10.0.0.6")}}
	if d := cmp.Diff(want, got, cmpopts.EquateComparable(netip.Addr{})); d != "" {
		t.Errorf("records (-want +got):\n%s", d)
	}
	if d := cmp.Diff(before, list()); d != "" {
		t.Errorf("files (-before +after):\n%s", d)
	}
}
