// Command image makes the container image of Causeway without a container
// daemon: an archive for `ctr images import` and `docker load`, or the root
// file system in a directory, for the Dockerfile.
//
//	image [-bin DIR] [-name NAME] [-version VERSION] -o FILE.tar
//	image [-bin DIR] -root DIR
package main

import (
	"errors"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"strings"

	"github.com/causeway-cni/causeway/scripts/release"
	"github.com/causeway-cni/causeway/scripts/release/oci"
)

func main() {
	bin := flag.String("bin", "bin", "directory of our programs")
	name := flag.String("name", "docker.io/library/causeway:latest", "name of the image, with registry and tag")
	version := flag.String("version", "dev", "version of the programs, for a label")
	out := flag.String("o", "", "archive to write")
	root := flag.String("root", "", "directory to write the files to, in place of an archive")
	flag.Parse()
	if err := run(*bin, *name, *version, *out, *root); err != nil {
		fmt.Fprintln(os.Stderr, "image:", err)
		os.Exit(1)
	}
}

func run(bin, name, version, out, root string) error {
	if (out == "") == (root == "") {
		return errors.New("want -o FILE or -root DIR")
	}
	files, err := release.Files(bin)
	if err != nil {
		return err
	}
	if root != "" {
		return oci.Unpack(root, files)
	}
	packages, err := release.Versions()
	if err != nil {
		return err
	}
	if err := os.MkdirAll(filepath.Dir(out), 0o755); err != nil {
		return err
	}
	file, err := os.Create(out + ".new")
	if err != nil {
		return err
	}
	digest, err := oci.Write(file, oci.Image{
		Name: name, Arch: runtime.GOARCH, Files: files, Entrypoint: []string{release.Entrypoint}, Env: []string{release.Path},
		Labels: map[string]string{"org.opencontainers.image.version": version, "org.opencontainers.image.licenses": "Apache-2.0",
			"org.opencontainers.image.title": "causeway", "debian.packages": strings.Join(packages, " ")},
	})
	if err = errors.Join(err, file.Close()); err != nil {
		return err
	}
	if err := os.Rename(out+".new", out); err != nil {
		return err
	}
	fmt.Printf("%s: %s %s\n", out, name, digest)
	return nil
}
