// Package fleet starts a thousand nodes at once, in virtual time, against the
// token buckets of one EC2 account, and counts: calls, how many were throttled,
// and when all pods had addresses, beside the least time that the buckets
// allow. Then it watches the fleet at rest.
//
// Planner and budget are the product's, the buckets are the simulator's. What
// is around the planner follows package allocator: when EC2 is looked at, what
// runs at the same time, and what a failure does. Beside it runs the same fleet
// by aws-node's rules: a tick of five seconds, one operation a tick, and what
// failed again with the next one.
//
// It consists of tests alone, which `make sim-fleet` prints the tables of.
package fleet
