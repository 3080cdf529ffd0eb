// Package kube is the doorway to the Kubernetes API. It watches the Services,
// the EndpointSlices and the Node of this node, and tells a Sink of them as
// the plain structs of proxy/service; it watches the pods of this node, its
// Node and the ENIConfigs, and tells a NodeSink of them as those of demand; and
// it writes events.
//
// It refuses to reach the API through a service address, which this daemon
// itself makes work: a node whose rules are gone could never get them back. It
// decides nothing about services or addresses, and it caches nothing but names,
// by which it knows what a new list no longer has.
//
// Invariants: an object is converted as it is read, so that no object of the
// API outlives its event; with the API away nothing is deleted; a sink is
// told that all is known once, after all of it was told; after a new list the
// sink has what the list has, and what is new was told before what is gone; who
// reports an event never waits for the API.
package kube
