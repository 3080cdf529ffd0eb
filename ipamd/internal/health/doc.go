// Package health answers the load balancers' question whether to send traffic
// to this node, as kube-proxy v1.36 does (pkg/proxy/healthcheck): /healthz and
// /livez for the node as a whole, and a health check node port for every
// service that wants traffic only where it has endpoints.
//
// It differs in three things, on purpose: Karpenter's taint counts, besides the
// autoscaler's; a first sync that never succeeds makes the node unhealthy, too;
// and a request that was accepted just before its service went is refused with
// a status.
//
// It knows no Kubernetes API and decides nothing: it is told of every sync, of
// the node and of the services' checks. It listens only on the ports of checks.
package health
