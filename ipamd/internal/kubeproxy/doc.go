// Package kubeproxy reads what kube-proxy is told, its flags or its
// KubeProxyConfiguration file, into the settings of the service proxy, so that
// a node's kube-proxy can be replaced without a new configuration.
//
// Flags, fields and defaults are those of kube-proxy v1.36 (cmd/kube-proxy
// app/options.go, v1alpha1). What it does not know, or cannot do, it refuses
// by name: another proxy than the one asked for is worse than none. What makes
// no difference here is accepted with a warning.
package kubeproxy
