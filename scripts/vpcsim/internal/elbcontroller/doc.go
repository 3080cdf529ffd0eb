// Package elbcontroller gives a real cluster's Services of type LoadBalancer and
// Ingresses the simulator's load balancers: what it watches of the API is planned
// by package elb, compared with what the simulator has, and changed there; the
// name of the balancer goes into the object's status, and the health of targets
// into the readiness gates of pods.
//
// It is level-triggered: each round looks at all, so that a round that failed,
// or a restart, needs no memory. Balancers whose names begin with k8s-, as the
// controller's do, are its own: those that no object wants are deleted. One that
// an annotation named otherwise is deleted by the process that made it.
package elbcontroller
