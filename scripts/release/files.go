package release

import (
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/causeway-cni/causeway/scripts/release/oci"
)

// Packages are the Debian packages that must be installed; what these need of
// other packages is found.
var Packages = []string{"iptables", "ca-certificates"}

// Entrypoint is the program that the image runs, and Path where it finds others.
const (
	Entrypoint = "/usr/bin/ipamd"
	Path       = "PATH=/usr/sbin:/usr/bin"
)

// programs are ours, by their names in the directory of binaries.
var programs = []string{"ipamd", "causeway-cni"}

// iptables are the programs that the daemon calls, and those that operators
// call from a shell beside it: links to one program for each variant.
func iptables() []string {
	var names []string
	for _, family := range []string{"iptables", "ip6tables"} {
		for _, variant := range []string{"-nft", "-legacy"} {
			for _, verb := range []string{"", "-save", "-restore"} {
				names = append(names, "/usr/sbin/"+family+variant+verb)
			}
		}
	}
	return names
}

// Files are all files of the image. bin is the directory of our programs, which
// must be static.
func Files(bin string) ([]oci.File, error) {
	t := tree{files: map[string]oci.File{}}
	for _, name := range programs {
		if err := t.program(filepath.Join(bin, name), "usr/bin/"+name); err != nil {
			return nil, err
		}
	}
	if err := t.base("/etc/ssl/certs/ca-certificates.crt"); err != nil {
		return nil, err
	}
	if err := t.licences(); err != nil {
		return nil, err
	}
	return t.sorted(), nil
}

// Base are the files of an image with iptables and other programs of the
// machine, at their own paths, for images that nobody hands out.
func Base(programs ...string) ([]oci.File, error) {
	t := tree{files: map[string]oci.File{}}
	if err := t.base(programs...); err != nil {
		return nil, err
	}
	return t.sorted(), nil
}

// base adds iptables, and more of the machine.
func (t *tree) base(more ...string) error {
	for _, dir := range []string{"bin", "sbin", "lib", "lib64"} {
		t.files[dir] = oci.File{Path: dir, Mode: fs.ModeSymlink, Link: "usr/" + dir}
	}
	t.files["run"] = oci.File{Path: "run", Mode: fs.ModeDir | 0o755} // iptables has its lock there
	for _, name := range append(iptables(), more...) {
		if err := t.add(name); err != nil {
			return err
		}
	}
	return t.extensions()
}

func (t *tree) sorted() []oci.File {
	var all []oci.File
	for _, f := range t.files {
		all = append(all, f)
	}
	slices.SortFunc(all, func(a, b oci.File) int { return strings.Compare(a.Path, b.Path) })
	return all
}

// tree is the image's file system while it grows.
type tree struct {
	files map[string]oci.File // by path
}

// program adds one of ours.
func (t *tree) program(from, to string) error {
	text, err := os.ReadFile(from)
	if err != nil {
		return fmt.Errorf("adding %s: %w; make build makes it", to, err)
	}
	needed, err := libraries(text)
	if err != nil {
		return fmt.Errorf("adding %s: %w", from, err)
	}
	if len(needed) > 0 {
		return fmt.Errorf("adding %s: it needs %s: want a static program, as make build makes it", from, strings.Join(needed, ", "))
	}
	t.files[to] = oci.File{Path: to, Mode: 0o755, Body: text}
	return nil
}

// add adds a file of the machine at its own path, with what it leads to and
// what it loads. A path below /lib is the one below /usr/lib, as on all
// machines whose /usr is merged.
func (t *tree) add(path string) error {
	path, err := below(path)
	if err != nil {
		return err
	}
	if _, there := t.files[path[1:]]; there {
		return nil
	}
	info, err := os.Lstat(path)
	if err != nil {
		return fmt.Errorf("%w; it is of Debian's packages %s", err, strings.Join(Packages, ", "))
	}
	if info.Mode()&fs.ModeSymlink != 0 {
		link, err := os.Readlink(path)
		if err != nil {
			return err
		}
		t.files[path[1:]] = oci.File{Path: path[1:], Mode: fs.ModeSymlink, Link: link}
		if !filepath.IsAbs(link) {
			link = filepath.Join(filepath.Dir(path), link)
		}
		return t.add(link)
	}
	text, err := os.ReadFile(path)
	if err != nil {
		return err
	}
	t.files[path[1:]] = oci.File{Path: path[1:], Mode: info.Mode().Perm(), Body: text}
	needed, err := libraries(text)
	if err != nil {
		return fmt.Errorf("adding %s: %w", path, err)
	}
	for _, name := range needed {
		library, err := find(name)
		if err != nil {
			return fmt.Errorf("adding %s: %w", path, err)
		}
		if err := t.add(library); err != nil {
			return err
		}
	}
	return nil
}

// below resolves links among the directories of a path, and leaves its last
// element.
func below(path string) (string, error) {
	dir, err := filepath.EvalSymlinks(filepath.Dir(path))
	if err != nil {
		return "", fmt.Errorf("%w; it is of Debian's packages %s", err, strings.Join(Packages, ", "))
	}
	return filepath.Join(dir, filepath.Base(path)), nil
}

// extensions adds the matches and targets of iptables.
func (t *tree) extensions() error {
	found, err := filepath.Glob("/usr/lib/*/xtables/lib*.so")
	if err != nil || len(found) == 0 {
		return fmt.Errorf("no extensions of iptables at /usr/lib/*/xtables: Debian's package iptables is not installed")
	}
	for _, path := range found {
		if name := filepath.Base(path); strings.HasPrefix(name, "libarpt_") || strings.HasPrefix(name, "libebt_") {
			continue // of arptables and ebtables
		}
		if err := t.add(path); err != nil {
			return err
		}
	}
	return nil
}
