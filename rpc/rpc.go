// Package rpc is the protocol between the CNI plugin and ipamd: the messages
// and the service generated from ipamd.proto, and nothing else. The socket is
// at config.Socket.
package rpc

// Version of Causeway, which both sides log. Set by the linker.
var Version = "dev"

// HealthDatapath is the name under which the standard health service says
// whether the node's routes, rules and NAT are in place. The empty name says
// whether addresses can be assigned.
const HealthDatapath = "datapath"
