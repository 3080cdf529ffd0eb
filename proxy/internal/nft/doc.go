// Package nft is the doorway to nf_tables over netlink. It never reads or
// touches the content of a table that it was not told to.
package nft
