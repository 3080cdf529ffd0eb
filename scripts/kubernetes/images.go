package kubernetes

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"

	"github.com/causeway-cni/causeway/scripts/cluster"
	"github.com/causeway-cni/causeway/scripts/e2e/harness"
	"github.com/causeway-cni/causeway/scripts/release"
	"github.com/causeway-cni/causeway/scripts/release/oci"
)

// Names of images. No registry has them; they are imported on each node.
const (
	pauseImage   = "localhost/pause:v1"
	dnsImage     = "localhost/coredns:v1"
	causewayName = "localhost/causeway"
	// causewayTag is the version, too, that the programs say.
	causewayTag = "v1"
	// ProbeImage has vpcsim, for its echo servers and its probes.
	ProbeImage = "localhost/probe:v1"
)

// controller is the program of load balancers.
const controller = "controller"

// raceOptions let the race detector write what it finds to files of a node,
// which last longer than the program and its pod.
const (
	raceFiles   = "/run/causeway/race"
	raceOptions = "GORACE=log_path=" + raceFiles
)

// buildImages compiles our programs, and packs the images.
func (c *Cluster) buildImages(ctx context.Context, bin string) error {
	c.bins = harness.In(bin)
	causeway, err := c.buildCauseway(ctx, bin, causewayTag)
	if err != nil {
		return err
	}
	for name, pkg := range map[string]string{"vpcsim": "scripts/vpcsim", controller: "scripts/vpcsim/controller", "pause": "scripts/kubernetes/pause"} {
		cmd := exec.CommandContext(ctx, "go", "build", "-trimpath", "-ldflags", "-s -w", "-o", filepath.Join(bin, name), "github.com/causeway-cni/causeway/"+pkg)
		cmd.Env = append(os.Environ(), "CGO_ENABLED=0")
		if out, err := cmd.CombinedOutput(); err != nil {
			return fmt.Errorf("building %s: %w\n%s", name, err, out)
		}
	}
	images := []oci.Image{causeway}
	for name, program := range map[string]string{
		pauseImage: filepath.Join(bin, "pause"), ProbeImage: c.bins.Vpcsim, dnsImage: c.tools.Path(cluster.DNS),
	} {
		body, err := os.ReadFile(program)
		if err != nil {
			return err
		}
		path := "usr/bin/" + filepath.Base(program)
		images = append(images, oci.Image{Name: name, Files: []oci.File{{Path: path, Mode: 0o755, Body: body}, {Path: "tmp", Mode: os.ModeDir | 0o777}},
			Entrypoint: []string{"/" + path}, Env: []string{"PATH=/usr/bin"}})
	}
	for i, image := range images {
		if err := writeImage(c.archive(i), image); err != nil {
			return fmt.Errorf("making image %s: %w", image.Name, err)
		}
	}
	return nil
}

// buildCauseway compiles Causeway's programs into bin, and is their image.
func (c *Cluster) buildCauseway(ctx context.Context, bin, version string) (oci.Image, error) {
	build, env := release.BuildPrograms, []string{release.Path}
	if c.options.Race {
		build, env = release.BuildRace, append(env, raceOptions)
	}
	if err := build(ctx, bin, version); err != nil {
		return oci.Image{}, err
	}
	files, err := release.Files(bin)
	if err != nil {
		return oci.Image{}, err
	}
	if c.options.Race { // without its directory the detector ends the program
		files = append(files, oci.File{Path: filepath.Dir(raceFiles)[1:], Mode: os.ModeDir | 0o755})
	}
	return oci.Image{Name: causewayName + ":" + version, Files: files, Entrypoint: []string{release.Entrypoint}, Env: env}, nil
}

// Release gives all nodes that have joined an image of Causeway of another
// version, and is the image's name.
func (c *Cluster) Release(ctx context.Context, version string) (string, error) {
	bin := filepath.Join(c.dir, "bin-"+version)
	if err := os.MkdirAll(bin, 0o700); err != nil {
		return "", err
	}
	image, err := c.buildCauseway(ctx, bin, version)
	if err != nil {
		return "", err
	}
	archive := filepath.Join(bin, "image.tar")
	if err := writeImage(archive, image); err != nil {
		return "", fmt.Errorf("making image %s: %w", image.Name, err)
	}
	for _, n := range c.Nodes {
		if n.kubelet == nil || n.kubelet.Ended() {
			continue
		}
		if err := n.importImage(ctx, archive); err != nil {
			return "", err
		}
	}
	return image.Name, nil
}

// archives is how many images there are.
const archives = 4

func (c *Cluster) archive(i int) string { return filepath.Join(c.dir, fmt.Sprintf("image-%d.tar", i)) }

func writeImage(path string, image oci.Image) error {
	image.Arch = runtime.GOARCH
	file, err := os.Create(path)
	if err != nil {
		return err
	}
	_, err = oci.Write(file, image)
	return errors.Join(err, file.Close())
}

// importImages gives a node's runtime all images.
func (n *Node) importImages(ctx context.Context) error {
	for i := range archives {
		if err := n.importImage(ctx, n.cluster.archive(i)); err != nil {
			return err
		}
	}
	return nil
}

func (n *Node) importImage(ctx context.Context, archive string) error {
	if _, err := n.Exec(ctx, "ctr", "-n", "k8s.io", "images", "import", archive); err != nil {
		return fmt.Errorf("importing %s on %s: %w", filepath.Base(archive), n.place, err)
	}
	return nil
}
