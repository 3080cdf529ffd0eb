// Package release makes what is installed on a cluster: the files of the
// container image (Files), and the chart's manifests (Manifests).
//
// The image has the static programs of this repository, and Debian's iptables
// in both variants with the libraries that they load, taken from the machine's
// own packages: nothing else of Debian, no shell, and nothing from a registry.
// Command image packs them, in an archive or, for the Dockerfile, in a directory.
package release
