package iptables

import (
	"os"
	"strconv"
	"strings"
)

// listTotal is where the kernel says how many clients a list of xt_recent
// remembers; the one that was seen longest ago goes when another comes. It can
// be set only when the module is loaded, or the kernel started
// (xt_recent.ip_list_tot=4096), so we cannot raise it.
const listTotal = "/sys/module/xt_recent/parameters/ip_list_tot"

const (
	// enoughClients of an endpoint are worth no further lists.
	enoughClients = 400
	// moreLists, of 100 clients each, are together enough. They are few
	// because the kernel looks for a list by its name among all that there
	// are, for every rule with one that a connection's first packet meets.
	moreLists = 4
)

// affinityLists is how many more lists an endpoint needs than kube-proxy's one.
// Where the module is not loaded yet, it is taken to have its default.
func affinityLists(file string) int {
	text, err := os.ReadFile(file)
	if err != nil {
		return moreLists
	}
	if n, err := strconv.Atoi(strings.TrimSpace(string(text))); err != nil || n < enoughClients {
		return moreLists
	}
	return 0
}
