// Package rpc is the protocol between the CNI plugin and ipamd: the messages
// and the service generated from ipamd.proto, and nothing else. The socket is
// at config.Socket.
package rpc

// Version of Causeway, which both sides log. Set by the linker.
var Version = "dev"
