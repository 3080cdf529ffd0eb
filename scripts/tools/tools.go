//go:build tools

// Package tools pins the real programs of Kubernetes that tests and benchmarks
// compare with, and that a cluster on this machine is made of. It is a module of
// its own, so that what these need stays out of the product's. Package
// scripts/cluster builds them.
package tools

import (
	_ "k8s.io/kubernetes/cmd/kube-apiserver"
	_ "k8s.io/kubernetes/cmd/kube-controller-manager"
	_ "k8s.io/kubernetes/cmd/kube-proxy"
	_ "k8s.io/kubernetes/cmd/kube-scheduler"
	_ "k8s.io/kubernetes/cmd/kubectl"
	_ "k8s.io/kubernetes/cmd/kubelet"
)
