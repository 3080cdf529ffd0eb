package kubeproxy

import (
	"net/netip"
	"time"

	"github.com/causeway-cni/causeway/config"
)

// Config is what kube-proxy is told, in our own terms.
type Config struct {
	Task Task
	// Kube has the kubeconfig file and the node's name; an empty name means
	// the host's.
	Kube config.Kube
	// Server is --master: the URL that replaces the one in the kubeconfig
	// file; empty to use that.
	Server string
	// Proxy has no Window if none was asked for: kube-proxy then waits for a
	// second between changes, as each costs it the whole set of rules.
	Proxy     config.Proxy
	Conntrack config.Conntrack
	// SyncPeriod is how often all is checked even if nothing changed; a sync
	// that is late by twice as much is unhealthy.
	SyncPeriod time.Duration
	// NodeAddr is bindAddress, the node's primary address, whatever its Node
	// says; invalid if the Node says it.
	NodeAddr netip.Addr
	// Verbosity is -v: 0 for what happens, 4 and more for why.
	Verbosity int
}

// Task is what to do.
type Task uint8

const (
	// Serve is to serve services until the end.
	Serve Task = iota
	// Cleanup is to remove all rules, and end.
	Cleanup
	// Init is to do what only root may, the sysctls, and end.
	Init
	// Version is to print the version, and end.
	Version
	// Help is to print Usage, and end.
	Help
)

// String is the task in words.
func (t Task) String() string {
	return [...]string{"serve", "cleanup", "init", "version", "help"}[t]
}
