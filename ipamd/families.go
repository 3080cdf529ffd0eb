package main

import (
	"fmt"

	"github.com/causeway-cni/causeway/config"
	"github.com/causeway-cni/causeway/ipamd/internal/pool"
)

// families are those of which pods get an address. IPv6 addresses are of
// prefixes, which the instance type must take.
func families(c config.Network, limits pool.Limits, instanceType string) (pool.Families, error) {
	switch {
	case !c.IPv6:
		return pool.IPv4, nil
	case !limits.Prefixes:
		return 0, fmt.Errorf("ENABLE_IPv6=\"true\": instance type %s takes no prefixes, of which IPv6 addresses are; want false, or a type on the Nitro system", instanceType)
	case c.IPv4:
		return pool.DualStack, nil
	}
	return pool.IPv6, nil
}
