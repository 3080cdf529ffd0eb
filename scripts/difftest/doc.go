// Package difftest compares service proxies by what becomes of packets: the
// real kube-proxy in iptables mode and in nftables mode, and `ipamd proxy` in
// both.
//
// Each runs on a node of its own, in network namespaces of the same shape, and
// all follow one real API server. Clusters of random services replace each
// other there, and after each the same connections are tried at all four: from
// pods, from the node and from outside, to every front end. They must reach
// the same endpoints, which must see the same source addresses, or they must
// be refused in the same way. What may differ, and why, stands in one table,
// wanted.
package difftest
