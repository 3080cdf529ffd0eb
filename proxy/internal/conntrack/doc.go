// Package conntrack ends UDP flows that lead where their service no longer
// does.
//
// The kernel translates the first packet of a flow by the rules of services,
// and all later ones as it did that one. A TCP connection ends with its
// endpoint; a UDP sender that never pauses keeps its flow, to a pod that is
// gone, for ever. So after the rules have changed, flows are looked at once
// more:
//
//	Ledger.Set    remembers front ends (cluster IPs, balancer's addresses,
//	              external IPs, node ports, host ports) and where they lead
//	Ledger.Stale  says which front ends lost something since the last call
//	Sweep.Stale   judges one flow
//	Delete        lists the kernel's flows, and deletes those that are stale
//
// Stale is called when the rules are written: a flow that is deleted before
// comes back as it was. The first three are pure. Delete is meant to run beside the writing of
// rules, not within: it reads the whole table where it must, 64 KiB at a time.
//
// A flow is stale if its front end leads somewhere, but not where the flow
// goes, or if its front end leads nowhere or is gone, and the flow was
// translated. A flow to an endpoint that serves stays, also while that
// terminates. TCP and SCTP flows, and flows to what is not a front end that
// changed, are never touched. An entry is deleted by its exact tuple, its zone
// and its id.
//
// Flows to front ends that went away while nobody watched are not known, and
// end when they have been idle for nf_conntrack_udp_timeout_stream.
package conntrack
