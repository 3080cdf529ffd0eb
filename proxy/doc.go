// Package proxy writes the node's netfilter rules: external SNAT and the
// connection mark (Sync), and services (SyncServices). It knows no Kubernetes
// API and no clock: it does something when it is called, and nothing in
// between.
//
// It takes over what aws-node and kube-proxy left, in place; it refuses settings that would
// translate traffic between pods; and it leaves every rule of others, and
// their order, alone. A Sync that returns nil has seen the kernel hold what
// was wanted.
package proxy
