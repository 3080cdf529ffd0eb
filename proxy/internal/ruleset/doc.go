// Package ruleset holds netfilter rules as values: what the node's rules must
// be (NodeNAT.Ruleset, Services), what they are (Parse), and what must change
// (Diff, Ledger). iptables-save is read as it comes: a node may have more rules
// than anybody wants in memory. It touches no kernel; package iptables carries the changes
// out.
//
// # Services
//
// The rules of services are those of kube-proxy v1.36 in iptables mode: names,
// comments, order and conditions. Compile makes those of one service-port, and
// Services adds what all share. A packet meets, in nat,
//
//	KUBE-SERVICES   -> KUBE-SVC or KUBE-SVL (cluster IP), KUBE-EXT (external
//	                   IP, balancer's address), KUBE-FW (one with source
//	                   ranges), and at its end KUBE-NODEPORTS -> KUBE-EXT
//	                   and KUBE-HOSTPORTS -> KUBE-HP, which leads to a pod of
//	                   this node
//	KUBE-FW         -> KUBE-EXT, for allowed sources
//	KUBE-EXT        -> KUBE-SVC, marked for masquerading, or with policy Local
//	                   KUBE-SVL, for outsiders
//	KUBE-SVC, -SVL  -> KUBE-SEP, one for each endpoint, at random: all of them,
//	                   or for policy Local this node's
//	KUBE-SEP        marks hairpins, DNAT
//	KUBE-POSTROUTING masquerades what is marked
//
// and in filter what no endpoint took: KUBE-SERVICES, KUBE-EXTERNAL-SERVICES
// and KUBE-PROXY-FIREWALL refuse or drop it.
//
// Where we differ from kube-proxy, packets fare the same: services stand in
// the order of their names, not at random; there are no nfacct counters; two
// services that want one front end are told apart by package service, not by
// the order of rules. A client of a service with affinity is remembered in one
// of several lists besides kube-proxy's, if that has room for few
// (Settings.AffinityLists). KUBE-HOSTPORTS is there only while there are host ports,
// which kube-proxy has not. Jumps from built-in chains have comments of our own,
// and stand beside kube-proxy's while both serve: a packet that a chain does not
// settle at the first jump is not changed by the second.
//
// A Ledger remembers a hash of every chain that the kernel holds, and the text
// of what service-ports have in chains that many share. A changed endpoint
// rewrites its service's KUBE-SVC and the KUBE-SEP of those that came and went;
// shared chains only when a front end came or went. Two service-ports whose
// chains would have one name are told apart by refusing the second.
//
// # External SNAT and the connection mark
//
// A pod on a secondary ENI has its own routing table (rule 1536), so that its
// packets leave by the ENI that owns its address. Two kinds of connection must
// leave by the primary ENI all the same: those that are translated to the
// node's primary address, and replies to connections that came in for that
// address (node ports). One bit, kept with the connection by conntrack and
// copied onto each packet before it is routed, selects the main table (rule
// 1024, before 1536 and after 512 "to pod").
//
// Rules, in the order in which a packet from a pod or a wire meets them:
//
//	mangle PREROUTING  M1 -i primary, to a local address: connection bit = 1
//	(every packet)     M2 -i eni+: packet bit = connection bit
//	                   M3 -i vlan+: the same for branch ENIs
//	nat PREROUTING     KUBE-SERVICES, kube-proxy's, which must stay first
//	(first packet      N1 -i eni+: unless to the VPC or an excluded block,
//	of a connection)      connection bit = 1      (AWS-CONNMARK-CHAIN-0)
//	                   N2 packet bit = connection bit
//	routing            512 to pod; 1024 bit; 1536 from pod; main
//	nat POSTROUTING    N3 unless to the VPC or an excluded block, or to a
//	(first packet)        local address: SNAT       (AWS-SNAT-CHAIN-0)
//
// Reply packets of a translated connection get their destination back in the
// nat PREROUTING hook, and their source in nat POSTROUTING: after M2, and
// without meeting any rule of nat.
//
// Why this is right, by the walks of the node:
//
//   - Inside a node or a VPC, pods and nodes alike (W01-W08), and blocks
//     excluded or added to the VPC (W11, W12): N1 and N3 return, the bit stays
//     0, rule 512 or 1536 decides, nothing is translated. In the other
//     direction, a first packet from a wire is not "-i eni+" and N2 copies 0.
//   - Pod to outside (W09): on the first packet M2 copies 0, N1 sets the bit,
//     N2 copies it, rule 1024 leads to the primary ENI, N3 translates. Later
//     packets skip nat and get the bit from M2. The reply comes in by the
//     primary ENI for a local address, so M1 sets the bit again, harmlessly;
//     conntrack restores the pod's address, rule 512 leads to the pod. Loose
//     rp_filter on the primary is needed here: the way back to the pod's peer,
//     without a mark, is table N and not the primary.
//   - The same with external SNAT on (W10): no N1, N2, N3; the bit stays 0,
//     and the pod's own ENI carries the pod's own address.
//   - Node port (W16, W17): M1 sets the bit on the first SYN, before DNAT. The
//     packet itself carries no bit, which does not matter: rule 512, or main
//     for an endpoint elsewhere, needs none. DNAT ends the chain, so N1 and N2
//     never see it. The reply of a pod on a secondary ENI gets the bit by M2,
//     and leaves by the primary. A node port reached on the address of a
//     secondary ENI is not covered; EKS balances to primary addresses.
//   - From outside straight to a pod on a secondary ENI (W21): not "to a
//     local address", not "-i eni+": bit 0. N3 sees a destination inside the
//     VPC and returns; the reply belongs to the same connection, so no rule of
//     nat sees it. It leaves by rule 1536 with the pod's address.
//   - Pod to ClusterIP: a service address lies outside the VPC, so N1 would
//     set the bit if it came before KUBE-SERVICES, and a pod on a secondary
//     ENI would reach its endpoint by the wrong ENI. DNAT in KUBE-SERVICES
//     ends the chain first. Hence Base.After.
//   - The node itself to outside: no PREROUTING; N3 leaves the address as it
//     is and makes the source port random.
//
// # Invariants
//
// Names, comments, marks and order are those of aws-node
// (amazon-vpc-cni-k8s pkg/networkutils), so its rules are adopted in place.
// Jumps are inert plumbing: they are put in before their chains are filled and
// taken out after these were emptied, and all chains of a table change in one
// transaction. A connection therefore never sees N1 without N3. What is
// wanted is added before what is not is deleted. Rules of others, and their
// order, are never touched.
package ruleset
