package main

import (
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/causeway-cni/causeway/cni-plugin/podnet"
	"github.com/causeway-cni/causeway/ipamd/internal/checkpoint"
	"github.com/causeway-cni/causeway/ipamd/internal/pool"
)

// shelf is a node's directories, with a book in which these pods have
// addresses; one without a name was adopted.
type shelf struct{ state, book, file string }

func newShelf(t *testing.T, pods ...string) shelf {
	t.Helper()
	state := t.TempDir()
	s := shelf{state: state, book: filepath.Join(state, "book"), file: filepath.Join(state, "aws-node", "ipam.json")}
	store, err := checkpoint.Open(s.book)
	if err != nil {
		t.Fatal(err)
	}
	address := netip.MustParseAddr("10.0.0.5")
	for _, name := range pods {
		a := pool.Assignment{Key: pool.Key{Network: "aws-cni", ContainerID: "c" + name, Interface: "eth0"}, Address: address, Since: time.Unix(0, 7)}
		if name != "" {
			a.Pod, a.Link = pool.Pod{Namespace: "default", Name: name}, podnet.VethName("eni", "default", name)
		}
		if err := store.Assign(a); err != nil {
			t.Fatal(err)
		}
		address = address.Next()
	}
	if err := store.Cool(address, time.Unix(8, 0)); err != nil {
		t.Fatal(err)
	}
	return s
}

// export returns what was printed, and the file.
func (s shelf) export(t *testing.T) (out, complaints, file string, err error) {
	t.Helper()
	var o, c strings.Builder
	err = export(&o, &c, s.state, s.book, s.file)
	text, readErr := os.ReadFile(s.file)
	if readErr == nil {
		left, globErr := filepath.Glob(filepath.Join(filepath.Dir(s.file), "*.new-*"))
		if globErr != nil || len(left) > 0 {
			t.Errorf("left beside the file: %q, error %v", left, globErr)
		}
	}
	return o.String(), c.String(), string(text), err
}

func TestExport(t *testing.T) {
	s := newShelf(t, "web")
	out, complaints, file, err := s.export(t)
	if want := "wrote 1 of 1 assignments to " + s.file + "\n"; out != want || complaints != "" || err != nil {
		t.Errorf("printed %q and %q, error %v; want %q", out, complaints, err, want)
	}
	want := `{"version":"vpc-cni-ipam/1","allocations":[{"networkName":"aws-cni","containerID":"cweb","ifName":"eth0","ipv4":"10.0.0.5","allocationTimestamp":7,"metadata":{"k8sPodNamespace":"default","k8sPodName":"web","interfacesCount":1}}]}` + "\n"
	if d := cmp.Diff(want, file); d != "" {
		t.Errorf("file (-want +got):\n%s", d)
	}
}

func TestExportBesideADaemon(t *testing.T) {
	s := newShelf(t, "web")
	unlock, err := lock(t.Context(), s.state, nil)
	if err != nil {
		t.Fatal(err)
	}
	defer unlock()
	if _, complaints, file, err := s.export(t); err != nil || file == "" || !strings.Contains(complaints, "ipamd runs") {
		t.Errorf("complaints %q, file %q, error %v", complaints, file, err)
	}
}

func TestExportTellsWhatIsLeftOut(t *testing.T) {
	s := newShelf(t, "web", "", "db")
	out, complaints, file, err := s.export(t)
	if err == nil || !strings.HasPrefix(err.Error(), "1 assignments are not in ") || !strings.HasPrefix(out, "wrote 2 of 3 ") {
		t.Errorf("printed %q, error %v", out, err)
	}
	if !strings.Contains(complaints, `left out: address "10.0.0.6"`) || strings.Contains(file, "10.0.0.6") || !strings.Contains(file, "10.0.0.7") {
		t.Errorf("complaints %q, file %s", complaints, file)
	}
}

// What was in the file stays where nothing good can be written.
func TestExportRefuses(t *testing.T) {
	for _, test := range []struct {
		name, want string
		spoil      func(t *testing.T, s shelf) error
	}{
		{"no book", "ipamd has not run on this node since it booted", func(_ *testing.T, s shelf) error { return os.RemoveAll(s.book) }},
		{"damaged book", "10.0.0.9", func(_ *testing.T, s shelf) error {
			return os.WriteFile(filepath.Join(s.book, "10.0.0.9"), []byte("{"), 0o600)
		}},
		{"aws-node runs", "aws-node runs", func(t *testing.T, s shelf) error {
			listener, err := net.Listen("unix", filepath.Join(filepath.Dir(s.file), "ipamd.sock"))
			if err == nil {
				t.Cleanup(func() { listener.Close() })
			}
			return err
		}},
	} {
		s := newShelf(t, "web")
		err := os.Mkdir(filepath.Dir(s.file), 0o755)
		if err == nil {
			err = os.WriteFile(s.file, []byte("theirs"), 0o600)
		}
		if err == nil {
			err = test.spoil(t, s)
		}
		if err != nil {
			t.Fatal(err)
		}
		out, _, file, err := s.export(t)
		if err == nil || !strings.Contains(err.Error(), test.want) || out != "" || file != "theirs" {
			t.Errorf("%s: printed %q, file %q, error %v; want one with %q", test.name, out, file, err, test.want)
		}
	}
}
