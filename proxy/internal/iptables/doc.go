// Package iptables carries rule-sets to the kernel through the programs that
// every operator knows: single rules of built-in chains through go-iptables;
// the content of our chains, and the jumps to those of services, through
// iptables-restore --noflush. Services does that for services, from a ledger of
// what the kernel holds.
//
// One transaction of a table of legacy costs what all its rules cost, so all
// changes of a table are one. With nft a change costs what it changes, but
// iptables-nft-restore searches all chains of its input for every line, so that
// 12,000 new ones at once took 2.2 s, and 60,000 over five minutes: they go
// in by about 256, each service's together, before the chains that lead to
// them. 60,000 then take 4 s. A service that iptables-restore does not take is
// found and left out (Refused).
//
// A Watch tells others' changes from ours: a flush, a chain or a rule that is
// gone. A new Services then finds what is missing and puts it in its place.
//
// It holds no policy: package ruleset decides what is to change. A Backend
// works in the network namespace of the calling thread, with one variant of
// iptables, nft or legacy; the kernel runs the rules of both, so that all
// programs of a node must use the same (Detect). What fails is reported with
// the program's own words; a lock that another program holds is waited for, a
// table that it changed is written again, and both are counted (Counts).
package iptables
