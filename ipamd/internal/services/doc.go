// Package services keeps the rules of services as Kubernetes wants them. It
// joins the model (service.Tracker), what is told of the cluster (it is the
// Sink of package kube), the rules (proxy.Proxy) and those who listen: health
// servers and metrics.
//
// Nothing is written before all services, slices and the node are known, and
// with the API away everything stays as it is. A change that could not be
// written is kept, and written by the next Step. It starts no goroutine and
// waits for nothing: the daemon's loop calls Step.
package services
