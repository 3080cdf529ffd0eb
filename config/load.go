package config

import (
	"errors"
	"fmt"
	"strconv"
)

// Load reads every setting through lookup, which is os.LookupEnv in the
// daemon. The warnings are for the log, in the order of the settings page. The
// error joins one error for each value that is refused; each names the
// variable, the value and what would be right. Config is only good without an
// error.
func Load(lookup func(variable string) (string, bool)) (Config, []string, error) {
	var (
		c        Config
		warnings []string
		errs     []error
	)
	for _, s := range settings() {
		warning, err := s.load(&c, lookup)
		if warning != "" {
			warnings = append(warnings, warning)
		}
		errs = append(errs, err)
	}
	errs = append(errs, c.settlePodMTU(), c.checkFamilies())
	if c.SNAT.External && len(c.SNAT.Excluded) > 0 {
		warnings = append(warnings, "AWS_VPC_K8S_CNI_EXCLUDE_SNAT_CIDRS has no effect while AWS_VPC_K8S_CNI_EXTERNALSNAT is true")
	}
	if err := errors.Join(errs...); err != nil {
		return Config{}, warnings, err
	}
	return c, warnings, nil
}

// load reads the default first, so that a field whose value is refused is
// whole for the checks between fields.
func (s setting) load(c *Config, lookup func(string) (string, bool)) (warning string, err error) {
	if _, err := s.read(c, s.fallback); err != nil {
		return "", fmt.Errorf("default of %s=%q: %w; want %s", s.variable, s.fallback, err, s.accepts)
	}
	value, _ := lookup(s.variable)
	if value == "" {
		return "", nil
	}
	warning, err = s.read(c, value)
	if err != nil {
		return "", fmt.Errorf("%s=%q: %w; want %s", s.variable, value, err, s.accepts)
	}
	return warning, nil
}

// settlePodMTU gives pods the MTU of the ENIs unless they have their own, and
// refuses one that the ENIs could not carry.
func (c *Config) settlePodMTU() error {
	if c.Network.PodMTU == 0 {
		c.Network.PodMTU = c.Network.MTU
	}
	if c.Network.PodMTU > c.Network.MTU {
		return fmt.Errorf("POD_MTU=%q: larger than the MTU of the ENIs; want 576..%d bytes",
			strconv.Itoa(c.Network.PodMTU), c.Network.MTU)
	}
	return nil
}

// checkFamilies refuses what leaves pods without an address, or what goes with
// IPv4 only.
func (c *Config) checkFamilies() error {
	switch {
	case c.Network.IPv4:
		return nil
	case !c.Network.IPv6:
		return errors.New(`ENABLE_IPv4="false": pods would have no address; want true, or ENABLE_IPv6="true" beside it`)
	case !c.Pool.Prefixes:
		return errors.New(`ENABLE_PREFIX_DELEGATION="false": IPv6 addresses are of a prefix; want true with ENABLE_IPv6="true" and ENABLE_IPv4="false"`)
	case c.Pool.CustomNetwork:
		return errors.New(`AWS_VPC_K8S_CNI_CUSTOM_NETWORK_CFG="true": pods with IPv6 alone are all on the primary ENI; want false with ENABLE_IPv4="false"`)
	}
	return nil
}
