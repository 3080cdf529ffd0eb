package release

import (
	"io/fs"
	"os"
	"os/exec"
	"path"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/causeway-cni/causeway/scripts/nstest"
	"github.com/causeway-cni/causeway/scripts/release/oci"
)

// content is that of the image, with programs built as `make build` does it.
func content(t *testing.T) []oci.File {
	t.Helper()
	bin := t.TempDir()
	if err := BuildPrograms(t.Context(), bin, "v1"); err != nil {
		t.Fatal(err)
	}
	files, err := Files(bin)
	if err != nil {
		t.Fatal(err)
	}
	return files
}

// sample has matches and targets that are libraries of their own.
const sample = `*filter
:FORWARD ACCEPT [0:0]
-A FORWARD -m conntrack --ctstate INVALID -j DROP
-A FORWARD -m mark --mark 0x4000/0x4000 -j REJECT
COMMIT
*mangle
:PREROUTING ACCEPT [0:0]
-A PREROUTING -j CONNMARK --restore-mark --nfmask 0x80 --ctmask 0x80
COMMIT
*nat
:POSTROUTING ACCEPT [0:0]
:TEST - [0:0]
-A POSTROUTING -m comment --comment leaves -m addrtype ! --dst-type LOCAL -j TEST
-A TEST -p tcp -m statistic --mode random --probability 0.5 -j MASQUERADE --random-fully
-A TEST -m recent --rcheck --name a --rsource -j ACCEPT
COMMIT
`

// TestImageRuns runs the programs where there is nothing but the image, in a
// network namespace of the test.
func TestImageRuns(t *testing.T) {
	files := content(t)
	t.Run("loads what it has", func(t *testing.T) { closed(t, files) })
	root := filepath.Join(t.TempDir(), "root")
	if err := oci.Unpack(root, files); err != nil {
		t.Fatal(err)
	}
	proc := filepath.Join(root, "proc") // a runtime makes it
	if err := os.Mkdir(proc, 0o755); err != nil {
		t.Fatal(err)
	}
	space := nstest.New(t)
	run := func(env, input string, command ...string) string {
		t.Helper()
		cmd := exec.CommandContext(t.Context(), "nsenter", append([]string{"--net=" + space.Path(), "--",
			"unshare", "--pid", "--fork", "--mount-proc=" + proc, "--", "chroot", root}, command...)...)
		cmd.Env, cmd.Stdin = []string{"PATH=" + os.Getenv("PATH") + ":/usr/sbin", env}, strings.NewReader(input)
		out, err := cmd.CombinedOutput()
		if err != nil {
			t.Fatalf("%q: %v\n%s", command, err, out)
		}
		return string(out)
	}
	if out := run("", "", Entrypoint, "settings"); !strings.Contains(out, "PROXY_MODE") {
		t.Errorf("ipamd settings: %s", out)
	}
	if out := run("CNI_COMMAND=VERSION", `{"cniVersion": "1.1.0"}`, "/usr/bin/causeway-cni"); !strings.Contains(out, `"supportedVersions"`) {
		t.Errorf("the plugin's versions: %s", out)
	}
	for _, program := range []string{"iptables-nft", "iptables-legacy", "ip6tables-nft", "ip6tables-legacy"} {
		run("", sample, program+"-restore", "-w", "5")
		saved := run("", "", program+"-save")
		for line := range strings.Lines(sample) {
			if strings.HasPrefix(line, "-A") && !strings.Contains(saved, strings.Fields(line)[len(strings.Fields(line))-1]) {
				t.Errorf("%s does not have %s:\n%s", program, line, saved)
			}
		}
		if out := run("", "", program, "-t", "nat", "-S", "TEST"); strings.Count(out, "-A TEST ") != 2 {
			t.Errorf("%s -S: %s", program, out)
		}
		run("", "*nat\n-F\n-X\nCOMMIT\n", program+"-restore", "-w", "5")
	}
}

// closed wants each library that a file of the image needs to be in the image.
func closed(t *testing.T, files []oci.File) {
	have := map[string]bool{}
	for _, f := range files {
		have[path.Base(f.Path)] = true
	}
	dynamic := 0
	for _, f := range files {
		needed, err := libraries(f.Body)
		if err != nil {
			t.Errorf("%s: %v", f.Path, err)
		}
		for _, name := range needed {
			dynamic++
			if !have[path.Base(name)] {
				t.Errorf("%s needs %s, which is not in the image", f.Path, name)
			}
		}
		if f.Mode&fs.ModeSymlink != 0 && !have[path.Base(f.Link)] && !slices.ContainsFunc(files, func(o oci.File) bool { return strings.HasPrefix(o.Path, f.Link+"/") }) {
			t.Errorf("%s leads to %s, which is not in the image", f.Path, f.Link)
		}
	}
	if dynamic < 100 {
		t.Errorf("only %d libraries are needed: are these the extensions of iptables?", dynamic)
	}
}

// TestProgramsMustBeStatic refuses what would not run in the image.
func TestProgramsMustBeStatic(t *testing.T) {
	bin := t.TempDir()
	text, err := os.ReadFile("/usr/sbin/xtables-nft-multi")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := Files(bin); err == nil {
		t.Error("without programs there is an image")
	}
	if err := os.WriteFile(filepath.Join(bin, "ipamd"), text, 0o755); err != nil {
		t.Fatal(err)
	}
	if _, err := Files(bin); err == nil || !strings.Contains(err.Error(), "libc.so.6") {
		t.Errorf("a program that needs the C library: %v", err)
	}
}

// TestDockerfile holds it together with the archive: the files are the same
// because the same list writes them; packages and how it is run are said twice.
func TestDockerfile(t *testing.T) {
	text, err := os.ReadFile("Dockerfile")
	if err != nil {
		t.Fatal(err)
	}
	gomod, err := os.ReadFile(filepath.Join(sourceDir(), "go.mod"))
	if err != nil {
		t.Fatal(err)
	}
	_, version, _ := strings.Cut(string(gomod), "\ngo ")
	major, minor, _ := strings.Cut(strings.Fields(version)[0], ".")
	minor, _, _ = strings.Cut(minor, ".")
	for _, want := range []string{
		"FROM golang:" + major + "." + minor + "-bookworm AS build\n",
		"apt-get install -y --no-install-recommends " + strings.Join(Packages, " ") + "\n",
		"go run ./scripts/release/image -root /image\n\nFROM scratch\nCOPY --from=build /image/ /\n",
		"ENV " + Path + "\n",
		`ENTRYPOINT ["` + Entrypoint + `"]` + "\n",
	} {
		if !strings.Contains(string(text), want) {
			t.Errorf("the Dockerfile lacks %q", want)
		}
	}
}
