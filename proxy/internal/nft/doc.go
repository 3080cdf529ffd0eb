// Package nft is the doorway to nf_tables over netlink. Table serves services,
// host ports, external SNAT and the connection mark from one table of ours,
// inet causeway; Generation tells whether anyone changed any table; DeleteTable
// removes a table of another agent that takes part in the same work. No
// process is started. Tables of others are neither read nor written.
//
// # What the table looks like
//
// A front end leads to a value, the value to one of a fixed set of chains, and
// these to an endpoint. Values are numbers, which nft prints in hex: one digit
// says how packets are treated, two how an endpoint is chosen, five which
// group it is of. (0x10300007: external, one of 3, of group 7.)
//
//	service-ips, node-ports    front end -> value. Comments have the service's name
//	inside                     group of local endpoints -> value for this node and
//	                           its pods, who get endpoints of all nodes
//	endpoints                  group . slot -> endpoint, slots from 0 on
//	source-ranges              group . block that may use its balancer's addresses
//	affinity                   group . client -> member, while the timeout lasts
//	affinity-slots, -members   group . slot -> member -> endpoint
//	affinity-values, -seconds  what else an affine group has
//	no-endpoint-ips, -ports    refused at once
//	host-ports, host-port-addresses  host port -> pod
//	hairpins                   endpoints of this node, as their own clients
//	layout                     what the table was written from
//
// A first packet goes
//
//	services      finds the front end; the packet carries its value from here
//	treat         by the first digit, a constant verdict map
//	cluster-ips, external, external-local, restricted, local-clients
//	              mark for masquerading, look at the source
//	choose        by size, a constant verdict map
//	one-of-n      draws a slot below n, gives the packet its priority back, DNAT
//	affinity...   instead, for clients that stay
//
// Up to 16 endpoints are drawn from directly. For more, a slot is drawn below
// the next power of two, up to ten times, each with a chance of more than a
// half; what is left after that, less than 0.1 %, goes to the first 16.
//
// With affinity the packet carries a member, which is the group and a number
// that an endpoint keeps as long as it is one. A client whose member is gone
// draws another at once, in the same packet. Clients and members survive a
// restart of the daemon. Up to 4,096 endpoints of an affine group are used,
// and 262,144 clients of a family remembered; more are balanced without.
//
// # The carrier
//
// Values travel in the packet's priority, which is 0 for packets that come in
// by a link, and is set back to 0 in the rule that translates. A socket with a
// type of service or SO_PRIORITY sends another: it is kept in the connection's
// mark until nat-postrouting, or nat-input, gives it back, and the mark its 0.
// Only priorities above 15, or those of packets whose connection already has a
// mark, are lost, on the first packet of a connection.
//
// # Hooks, in the order of a packet
//
//	-150 prerouting   connection-mark: what comes in by the primary ENI for a
//	                  local address sets the bit of the connection. Before DNAT,
//	                  which hides that the address was local.
//	-110 prerouting,  refuse-*: a new connection to what has no endpoint. Reject
//	     output       is not for nat, and DNAT must not have happened.
//	-100 prerouting,  nat-prerouting, nat-output: services.
//	     output
//	 -95 prerouting   nat-outbound: pods' connections that leave the VPC set the
//	                  bit of the connection. Chains of type nat see only what no
//	                  chain before them translated, and this one must come after
//	                  kube-proxy's, too, while that serves.
//	 -90 prerouting   restore-connection-mark: packets of pods get the bit of
//	                  their connection. After DNAT, so that what became of a
//	                  connection to a ClusterIP is known: with a bit that is set
//	                  before (amazon-vpc-cni-k8s and kube-proxy nftables) a pod
//	                  on a secondary ENI reaches endpoints by the wrong one.
//	   0 forward      filter-forward: what conntrack cannot place is dropped
//	   0 input, out   localnet-*: 127.0.0.0/8 from outside, if that is open
//	 100 postrouting  masquerade what is marked, hairpins, then external SNAT
//
// Packets fare as package ruleset has it, whose walks are tested here too. One
// chain does for M2, M3 and N2, since it comes after N1. Differences: TCP to
// what has no endpoint is refused by a reset; what ruleset accepts in FORWARD
// is not accepted here, since no table can overrule another's drop.
//
// # Transactions
//
// Sync sends one transaction: all or nothing. Only a very large one, over 16
// MB, is cut, between services, so that none is ever half there. The table is
// read once, by Open; from then on the elements are known, and each change
// costs what it changes. The first Sync after Open writes only differences,
// removes what it found and nobody set, and writes the chains anew if they do
// not look as they were left. A table of another layout, or with foreign sets,
// is replaced in one transaction. After an error the table must be opened anew.
// Elements are added without NLM_F_EXCL: while the kernel makes a hash larger a
// dump may miss some.
//
// Linux 5.10 or newer is needed, and Open says so on older ones.
//
// # What was tried
//
// On Linux 6.18, 2 busy cores, 5,000 services with 10 endpoints:
//
//   - A chain for each service, or an anonymous map: 2.3 to 12 s to load, ms for
//     a change. Every rule added validates the table; a map bound from many
//     chains checks each new element against all of them.
//   - A verdict map of services: 0.19 ms for each change, growing with the
//     number of services.
//   - Passing the value in a register from lookup to lookup: nothing to give
//     back, but nft up to 1.0.6 aborts when it lists a lookup by what another
//     lookup gave (netlink_parse_concat_expr), whatever bitwise or byteorder
//     stands between. Its rules also had to repeat the first lookup, which
//     meant 150 rules bound to the endpoints, and 0.66 s to load.
//   - This one, 45 such rules: about 0.12 s to open, build and load (0.09 s of
//     it in the kernel), 0.1 s to open and find nothing to do, 20 to 30 us for
//     an endpoint, a scale, a service that comes or goes; 5 MB of heap. To
//     connect through one of 10,000 services takes 1.04 times as long as
//     straight to the pod.
//   - The endpoint itself as what affinity remembers: nft aborts on a dynamic
//     set with a concatenation from a map as its data, and stale clients would
//     be for the daemon to find. Hence members, which fit the carrier.
package nft
