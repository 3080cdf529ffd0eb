package release

import (
	"fmt"
	"io/fs"
	"os/exec"
	"slices"
	"strings"
)

// licences adds the copyright files of all packages that files are from: who
// hands out their programs must hand these out, too.
func (t *tree) licences() error {
	owners, err := t.owners()
	if err != nil {
		return err
	}
	for _, name := range owners {
		if err := t.add("/usr/share/doc/" + name + "/copyright"); err != nil {
			return err
		}
	}
	return nil
}

// owners are the Debian packages of the files that are not ours, sorted.
func (t *tree) owners() ([]string, error) {
	var paths []string
	for path, f := range t.files {
		if f.Mode&fs.ModeSymlink != 0 || strings.HasPrefix(path, "usr/bin/") || strings.HasPrefix(path, "etc/") {
			continue // links belong to what they lead to; ours; what packages generate
		}
		// dpkg knows the path that the package has, merged or not.
		paths = append(paths, "/"+path, strings.TrimPrefix("/"+path, "/usr"))
	}
	// It fails because it does not know one of each two.
	out, err := exec.Command("dpkg-query", append([]string{"--search"}, paths...)...).Output()
	names := []string{"ca-certificates"}
	known := 0
	for line := range strings.Lines(string(out)) {
		if owner, _, ok := strings.Cut(line, ": "); ok && !strings.HasPrefix(owner, "diversion ") {
			name, _, _ := strings.Cut(owner, ":") // libc6:amd64
			names = append(names, name)
			known++
		}
	}
	if known*2 < len(paths) {
		return nil, fmt.Errorf("asking dpkg-query whose %d files are: it knows %d of them (%v)", len(paths)/2, known, err)
	}
	slices.Sort(names)
	return slices.Compact(names), nil
}

// Versions are the packages that the files are from, as NAME=VERSION.
func Versions() ([]string, error) {
	args := append([]string{"--show", "--showformat", "${Package}=${Version}\\n"}, Packages...)
	out, err := exec.Command("dpkg-query", args...).Output()
	if err != nil {
		return nil, fmt.Errorf("asking dpkg-query for the versions of %s: %w", strings.Join(Packages, ", "), err)
	}
	versions := strings.Fields(string(out))
	slices.Sort(versions)
	return versions, nil
}
