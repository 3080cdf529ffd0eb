package oci

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"encoding/json"
	"errors"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func image() Image {
	return Image{
		Name: "docker.io/library/test:1", Arch: "amd64", Entrypoint: []string{"/usr/bin/test"}, Env: []string{"A=b"},
		Files: []File{
			{Path: "usr/bin/test", Mode: 0o755, Body: []byte("program")},
			{Path: "bin", Mode: fs.ModeSymlink, Link: "usr/bin"},
			{Path: "tmp", Mode: fs.ModeDir | 0o700},
			{Path: "etc/a", Mode: 0o600, Body: []byte("secret")},
		},
	}
}

// entries reads a tar.
func entries(t *testing.T, archive []byte) (names []string, bodies map[string][]byte, headers map[string]*tar.Header) {
	t.Helper()
	bodies, headers = map[string][]byte{}, map[string]*tar.Header{}
	for r := tar.NewReader(bytes.NewReader(archive)); ; {
		h, err := r.Next()
		if errors.Is(err, io.EOF) {
			return names, bodies, headers
		}
		if err != nil {
			t.Fatal(err)
		}
		body, err := io.ReadAll(r)
		if err != nil {
			t.Fatal(err)
		}
		names, bodies[h.Name], headers[h.Name] = append(names, h.Name), body, h
	}
}

// decode reads JSON.
func decode[T any](t *testing.T, text []byte) (value T) {
	t.Helper()
	if err := json.Unmarshal(text, &value); err != nil {
		t.Fatalf("%v in %s", err, text)
	}
	return value
}

// TestWrite follows the references of the archive, from both ends, to the files.
func TestWrite(t *testing.T) {
	var first, second bytes.Buffer
	name, err := Write(&first, image())
	if err != nil {
		t.Fatal(err)
	}
	again := image()
	slices.Reverse(again.Files)
	if same, err := Write(&second, again); err != nil || same != name || !bytes.Equal(first.Bytes(), second.Bytes()) {
		t.Errorf("the same files in another order: %s, error %v; first %s", same, err, name)
	}
	_, blobs, _ := entries(t, first.Bytes())
	blob := func(d descriptor) []byte {
		body, ok := blobs[blobPath(d.Digest)]
		if !ok || digest(body) != d.Digest || len(body) != d.Size {
			t.Fatalf("blob %+v: %d bytes of %s", d, len(body), digest(body))
		}
		return body
	}
	index := decode[struct{ Manifests []descriptor }](t, blobs["index.json"])
	if len(index.Manifests) != 1 || index.Manifests[0].Digest != name || index.Manifests[0].Annotations["io.containerd.image.name"] != "docker.io/library/test:1" {
		t.Fatalf("index %+v", index)
	}
	manifest := decode[struct {
		Config descriptor
		Layers []descriptor
	}](t, blob(index.Manifests[0]))
	docker := decode[[]struct {
		Config           string
		RepoTags, Layers []string
	}](t, blobs["manifest.json"])
	if len(docker) != 1 || docker[0].Config != blobPath(manifest.Config.Digest) || !slices.Equal(docker[0].Layers, []string{blobPath(manifest.Layers[0].Digest)}) {
		t.Errorf("docker's manifest %+v", docker)
	}
	unzip, err := gzip.NewReader(bytes.NewReader(blob(manifest.Layers[0])))
	if err != nil {
		t.Fatal(err)
	}
	layer, err := io.ReadAll(unzip)
	if err != nil {
		t.Fatal(err)
	}
	config := decode[struct {
		Architecture, OS string
		Config           struct{ Entrypoint, Env []string }
		RootFS           struct {
			DiffIDs []string `json:"diff_ids"`
		}
	}](t, blob(manifest.Config))
	if config.Architecture != "amd64" || config.OS != "linux" || !slices.Equal(config.RootFS.DiffIDs, []string{digest(layer)}) ||
		!slices.Equal(config.Config.Entrypoint, []string{"/usr/bin/test"}) || !slices.Equal(config.Config.Env, []string{"A=b"}) {
		t.Errorf("config %+v", config)
	}
	names, bodies, headers := entries(t, layer)
	if diff := cmp.Diff([]string{"bin", "etc/", "etc/a", "tmp/", "usr/", "usr/bin/", "usr/bin/test"}, names); diff != "" {
		t.Errorf("files (-want +got):\n%s", diff)
	}
	if string(bodies["usr/bin/test"]) != "program" || headers["bin"].Linkname != "usr/bin" || headers["tmp/"].Mode != 0o700 || headers["etc/a"].Mode != 0o600 {
		t.Errorf("layer %v", headers)
	}
	for _, h := range headers {
		if h.Uid != 0 || h.Gid != 0 || h.Uname != "" || h.ModTime.Unix() != 0 {
			t.Errorf("%s has traces of the machine: %+v", h.Name, h)
		}
	}
}

func TestRefused(t *testing.T) {
	for name, files := range map[string][]File{
		"absolute":            {{Path: "/a"}},
		"outside":             {{Path: "../a"}},
		"not clean":           {{Path: "a//b"}},
		"empty":               {{Path: ""}},
		"twice":               {{Path: "a"}, {Path: "a"}},
		"below a file":        {{Path: "a"}, {Path: "a/b"}},
		"below a link, later": {{Path: "lib/b/c"}, {Path: "lib", Mode: fs.ModeSymlink, Link: "usr/lib"}},
	} {
		if _, err := Layer(files); err == nil {
			t.Errorf("%s: no error", name)
		}
	}
}

func TestUnpack(t *testing.T) {
	root := filepath.Join(t.TempDir(), "root")
	if err := Unpack(root, image().Files); err != nil {
		t.Fatal(err)
	}
	if text, err := os.ReadFile(filepath.Join(root, "bin/test")); err != nil || string(text) != "program" {
		t.Errorf("through the link: %q, error %v", text, err)
	}
	for path, mode := range map[string]fs.FileMode{"usr/bin/test": 0o755, "etc/a": 0o600, "tmp": fs.ModeDir | 0o700} {
		if info, err := os.Stat(filepath.Join(root, path)); err != nil || info.Mode() != mode {
			t.Errorf("%s: %v, error %v", path, info, err)
		}
	}
	if err := Unpack(root, image().Files); !errors.Is(err, fs.ErrExist) {
		t.Errorf("a second time: %v", err)
	}
}
