// Package rpc is the protocol between the CNI plugin and ipamd: the messages
// and the service generated from ipamd.proto, and the codes of failures. The
// socket is
// at config.Socket.
package rpc

import "strings"

// Version of Causeway, which both sides log. Set by the linker.
var Version = "dev"

// HealthDatapath is the name under which the standard health service says
// whether the node's routes, rules and NAT are in place. The empty name says
// whether addresses can be assigned.
const HealthDatapath = "datapath"

// Code is a reason as operators meet it everywhere: in the CNI error, the event,
// the metric's label and the log. It is in one word, as reasons of events are:
// SubnetFull.
func (x Reason) Code() string {
	var code strings.Builder
	for word := range strings.SplitSeq(strings.TrimPrefix(x.String(), "REASON_"), "_") {
		switch word {
		case "ENI", "EC2", "IMDS":
			code.WriteString(word)
		default:
			code.WriteString(word[:1] + strings.ToLower(word[1:]))
		}
	}
	return code.String()
}
