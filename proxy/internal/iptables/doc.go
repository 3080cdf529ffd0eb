// Package iptables carries rule-sets to the kernel through the programs that
// every operator knows: single rules of built-in chains, and with them our
// jumps, through go-iptables; the content of our chains through
// iptables-restore --noflush, one transaction for a table. Services does that
// for services, from a ledger of what the kernel holds.
//
// It holds no policy: package ruleset decides what is to change. A Backend
// works in the network namespace of the calling thread, with one variant of
// iptables, nft or legacy; the kernel runs the rules of both, so that all
// programs of a node must use the same (Detect). What fails is reported with
// the program's own words; a lock that another program holds is waited for, a
// table that it changed is written again, and both are counted (Counts).
package iptables
