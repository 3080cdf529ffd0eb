// Package oci writes container images of one layer as archives that both
// `ctr images import` and `docker load` take: an OCI image layout with the
// manifest.json of docker-archive beside it. No daemon and no registry is asked.
//
// The same content gives the same bytes: files are sorted, belong to root and
// have the time 0, and nothing of the machine is in the archive.
package oci

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io"
	"io/fs"
	"path"
	"slices"
	"strings"
	"time"
)

// Image is what is in an image, and how it is run.
type Image struct {
	// Name is the reference under which the image is imported, with registry
	// and tag: docker.io/library/causeway:latest.
	Name string
	// Arch is the architecture, in Go's words.
	Arch string
	// Files in any order; the directories above them need not be named.
	Files      []File
	Entrypoint []string
	Cmd        []string
	Env        []string // NAME=VALUE
	WorkingDir string
	Labels     map[string]string
}

// File is a file, a directory or a symbolic link of the image.
type File struct {
	Path string      // without a slash at its begin
	Mode fs.FileMode // fs.ModeDir or fs.ModeSymlink, or neither, and permissions
	Body []byte
	Link string // where a symbolic link leads
}

// Media types (OCI image specification 1.1).
const (
	indexType    = "application/vnd.oci.image.index.v1+json"
	manifestType = "application/vnd.oci.image.manifest.v1+json"
	configType   = "application/vnd.oci.image.config.v1+json"
	layerType    = "application/vnd.oci.image.layer.v1.tar+gzip"
)

// descriptor refers to a blob.
type descriptor struct {
	MediaType   string            `json:"mediaType"`
	Digest      string            `json:"digest"`
	Size        int               `json:"size"`
	Annotations map[string]string `json:"annotations,omitempty"`
}

// Write writes the archive and returns the digest of the image's manifest, as
// sha256:HEX.
func Write(w io.Writer, image Image) (string, error) {
	layer, err := Layer(image.Files)
	if err != nil {
		return "", fmt.Errorf("making image %s: %w", image.Name, err)
	}
	var packed bytes.Buffer
	zip := gzip.NewWriter(&packed)
	if _, err := zip.Write(layer); err != nil {
		return "", err
	}
	if err := zip.Close(); err != nil {
		return "", err
	}
	a := archive{blobs: map[string][]byte{}}
	layerBlob := a.blob(layerType, packed.Bytes())
	configBlob := a.json(configType, configuration(image, digest(layer)))
	manifest := a.json(manifestType, map[string]any{
		"schemaVersion": 2, "mediaType": manifestType, "config": configBlob, "layers": []descriptor{layerBlob},
	})
	manifest.Annotations = map[string]string{"io.containerd.image.name": image.Name, "org.opencontainers.image.ref.name": image.Name}
	a.file("oci-layout", map[string]string{"imageLayoutVersion": "1.0.0"})
	a.file("index.json", map[string]any{"schemaVersion": 2, "mediaType": indexType, "manifests": []descriptor{manifest}})
	a.file("manifest.json", []map[string]any{{
		"Config": blobPath(configBlob.Digest), "RepoTags": []string{image.Name}, "Layers": []string{blobPath(layerBlob.Digest)},
	}})
	if a.err != nil {
		return "", fmt.Errorf("making image %s: %w", image.Name, a.err)
	}
	text, err := Layer(a.files())
	if err == nil {
		_, err = w.Write(text)
	}
	if err != nil {
		return "", fmt.Errorf("writing image %s: %w", image.Name, err)
	}
	return manifest.Digest, nil
}

// configuration is the image's config object.
func configuration(image Image, diffID string) any {
	run := map[string]any{}
	if len(image.Entrypoint) > 0 {
		run["Entrypoint"] = image.Entrypoint
	}
	if len(image.Cmd) > 0 {
		run["Cmd"] = image.Cmd
	}
	if len(image.Env) > 0 {
		run["Env"] = image.Env
	}
	if image.WorkingDir != "" {
		run["WorkingDir"] = image.WorkingDir
	}
	if len(image.Labels) > 0 {
		run["Labels"] = image.Labels
	}
	return map[string]any{
		"architecture": image.Arch, "os": "linux", "created": time.Unix(0, 0).UTC(), "config": run,
		"rootfs":  map[string]any{"type": "layers", "diff_ids": []string{diffID}},
		"history": []map[string]any{{"created": time.Unix(0, 0).UTC()}},
	}
}

// archive collects blobs and files.
type archive struct {
	blobs map[string][]byte // by path
	err   error
}

func (a *archive) blob(kind string, body []byte) descriptor {
	d := descriptor{MediaType: kind, Digest: digest(body), Size: len(body)}
	a.blobs[blobPath(d.Digest)] = body
	return d
}

func (a *archive) json(kind string, value any) descriptor {
	return a.blob(kind, a.encode(value))
}

func (a *archive) file(name string, value any) { a.blobs[name] = a.encode(value) }

func (a *archive) encode(value any) []byte {
	text, err := json.Marshal(value)
	if err != nil && a.err == nil {
		a.err = err
	}
	return text
}

func (a *archive) files() []File {
	var files []File
	for name, body := range a.blobs {
		files = append(files, File{Path: name, Mode: 0o644, Body: body})
	}
	return files
}

func digest(body []byte) string {
	sum := sha256.Sum256(body)
	return "sha256:" + hex.EncodeToString(sum[:])
}

func blobPath(digest string) string { return "blobs/" + strings.Replace(digest, ":", "/", 1) }

// Layer is a tar of the files, sorted, with the directories above them.
func Layer(files []File) ([]byte, error) {
	all := map[string]File{}
	for _, f := range files {
		if f.Path == "" || path.Clean("/" + f.Path)[1:] != f.Path {
			return nil, fmt.Errorf("file %q: want a clean path without a slash at its begin", f.Path)
		}
		if _, twice := all[f.Path]; twice {
			return nil, fmt.Errorf("file %s is there twice", f.Path)
		}
		all[f.Path] = f
	}
	for _, f := range files {
		for dir := path.Dir(f.Path); dir != "."; dir = path.Dir(dir) {
			above, there := all[dir]
			if there && !above.Mode.IsDir() {
				return nil, fmt.Errorf("file %s: %s is no directory", f.Path, dir)
			}
			if !there {
				all[dir] = File{Path: dir, Mode: fs.ModeDir | 0o755}
			}
		}
	}
	var sorted []File
	for _, f := range all {
		sorted = append(sorted, f)
	}
	slices.SortFunc(sorted, func(a, b File) int { return strings.Compare(a.Path, b.Path) })
	var out bytes.Buffer
	w := tar.NewWriter(&out)
	for _, f := range sorted {
		if err := w.WriteHeader(f.header()); err != nil {
			return nil, fmt.Errorf("file %s: %w", f.Path, err)
		}
		if _, err := w.Write(f.Body); err != nil {
			return nil, fmt.Errorf("file %s: %w", f.Path, err)
		}
	}
	return out.Bytes(), w.Close()
}

func (f File) header() *tar.Header {
	h := &tar.Header{Typeflag: tar.TypeReg, Name: f.Path, Mode: int64(f.Mode.Perm()), Size: int64(len(f.Body)), ModTime: time.Unix(0, 0), Format: tar.FormatPAX}
	switch {
	case f.Mode.IsDir():
		h.Typeflag, h.Name = tar.TypeDir, f.Path+"/"
	case f.Mode&fs.ModeSymlink != 0:
		h.Typeflag, h.Linkname, h.Mode = tar.TypeSymlink, f.Link, 0o777
	}
	return h
}
