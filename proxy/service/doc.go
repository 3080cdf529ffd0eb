// Package service is the model of the service proxy: Services, EndpointSlices
// and the Node go in as plain structs, service-ports with their usable
// endpoints come out. A Tracker keeps the objects and says which services a
// change touches; Resolve applies traffic policies, terminating endpoints and
// topology hints to one of them, and Arbitrate settles who answers where two
// claim the same address and port.
//
// What is usable is decided as kube-proxy v1.36 decides it (pkg/proxy
// serviceport.go, topology.go). The package knows no rule, no kernel, no
// clock, and no Kubernetes type.
//
// Invariants: a change of one EndpointSlice touches one service, except when
// it moves the slice to another one; nothing that is wrong in one service
// changes what comes out for another; the order of what comes out depends on
// the objects alone, never on the order in which they came in.
package service
