// Package stories has what users of a cluster see, on a real one that runs on
// Causeway alone: `make e2e`. The stories are built with the tag cluster, since
// the cluster takes minutes to build and all of the machine.
package stories
