package config

import (
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"net/netip"
	"net/url"
	"path"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"
)

// A parser turns text into a value. Its error says only what is wrong with
// the text: Load adds the variable, the value and what would be right.

func parseBool(s string) (bool, error) {
	b, err := strconv.ParseBool(strings.ToLower(s))
	if err != nil {
		return false, errors.New("neither true nor false")
	}
	return b, nil
}

// parseInt returns a parser of decimal numbers in least..most.
func parseInt(least, most int) func(string) (int, error) {
	return func(s string) (int, error) {
		n, err := strconv.Atoi(s)
		switch {
		case errors.Is(err, strconv.ErrRange), err == nil && (n < least || n > most):
			return 0, errors.New("out of range")
		case err != nil:
			return 0, errors.New("not a whole number")
		}
		return n, nil
	}
}

// parseSeconds returns a parser of whole seconds in least..most.
func parseSeconds(least, most int) func(string) (time.Duration, error) {
	number := parseInt(least, most)
	return func(s string) (time.Duration, error) {
		n, err := number(s)
		return time.Duration(n) * time.Second, err
	}
}

// parseDuration returns a parser of Go durations in 0..most.
func parseDuration(most time.Duration) func(string) (time.Duration, error) {
	return func(s string) (time.Duration, error) {
		d, err := time.ParseDuration(s)
		switch {
		case err != nil:
			return 0, errors.New("not a duration")
		case d < 0 || d > most:
			return 0, errors.New("out of range")
		}
		return d, nil
	}
}

// parseMaxENIs reads aws-node's -1, "no limit of our own", as 0.
func parseMaxENIs(s string) (int, error) {
	if s == "-1" {
		return 0, nil
	}
	return parseInt(1, 1<<15)(s)
}

// parseMark reads a mark in decimal or, after 0x, hexadecimal. Octal is not
// read, because 010 would surprise.
func parseMark(s string) (uint32, error) {
	digits, base := s, 10
	if hex, ok := strings.CutPrefix(strings.ToLower(s), "0x"); ok {
		digits, base = hex, 16
	}
	n, err := strconv.ParseUint(digits, base, 32)
	switch {
	case errors.Is(err, strconv.ErrRange), err == nil && n == 0:
		return 0, errors.New("out of range")
	case err != nil:
		return 0, errors.New("not a number")
	}
	return uint32(n), nil
}

// parseVethPrefix leaves room for 11 hex digits in the kernel's 15 characters
// and keeps clear of the names of other links.
func parseVethPrefix(s string) (string, error) {
	if len(s) > 4 {
		return "", errors.New("too long")
	}
	if strings.Trim(s, "abcdefghijklmnopqrstuvwxyz") != "" {
		return "", errors.New("not lower-case letters only")
	}
	if s == "eth" || s == "lo" || s == "vlan" {
		return "", errors.New("the prefix of other links")
	}
	return s, nil
}

func parsePrefixes(s string) ([]netip.Prefix, error) {
	var prefixes []netip.Prefix
	for entry := range strings.SplitSeq(s, ",") {
		p, err := netip.ParsePrefix(strings.TrimSpace(entry))
		if err != nil || !p.Addr().Is4() {
			return nil, fmt.Errorf("entry %q is not an IPv4 CIDR", entry)
		}
		if p = p.Masked(); !slices.Contains(prefixes, p) {
			prefixes = append(prefixes, p)
		}
	}
	return prefixes, nil
}

// parseDestinations refuses the block that is everything: pods of secondary
// ENIs would send all they have by the primary one, where the VPC drops it.
func parseDestinations(s string) ([]netip.Prefix, error) {
	prefixes, err := parsePrefixes(s)
	for _, p := range prefixes {
		if p.Bits() == 0 {
			return nil, errors.New("0.0.0.0/0 is every destination")
		}
	}
	return prefixes, err
}

// parseTags applies the limits of EC2 (EC2 user guide, "Tag restrictions") and
// keeps off the keys by which EKS and we know our own ENIs.
func parseTags(s string) (map[string]string, error) {
	var tags map[string]string
	if err := json.Unmarshal([]byte(s), &tags); err != nil {
		return nil, fmt.Errorf("not a JSON object of strings: %w", err)
	}
	for _, key := range slices.Sorted(maps.Keys(tags)) {
		switch {
		case strings.Contains(key, "k8s.amazonaws.com"), strings.HasPrefix(strings.ToLower(key), "aws:"):
			return nil, fmt.Errorf("key %q is reserved", key)
		case key == "" || utf8.RuneCountInString(key) > 128:
			return nil, fmt.Errorf("key %q has not 1..128 characters", key)
		case utf8.RuneCountInString(tags[key]) > 256:
			return nil, fmt.Errorf("value of key %q has over 256 characters", key)
		}
	}
	return tags, nil
}

func parseURL(s string) (string, error) {
	u, err := url.Parse(s)
	if err != nil || u.Scheme != "http" && u.Scheme != "https" || u.Hostname() == "" {
		return "", errors.New("not a URL with http or https and a host")
	}
	return s, nil
}

func parseClusterName(s string) (string, error) {
	if len(s) > 100 {
		return "", errors.New("too long")
	}
	for _, c := range s {
		if !strings.ContainsRune("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-_.", c) {
			return "", fmt.Errorf("character %q", c)
		}
	}
	return s, nil
}

func parsePath(s string) (string, error) {
	if !path.IsAbs(s) || path.Clean(s) != s || s == "/" {
		return "", errors.New("not a clean absolute path of a file")
	}
	return s, nil
}

func parseListenAddr(s string) (string, error) {
	a, err := netip.ParseAddrPort(s)
	if err != nil || a.Port() == 0 {
		return "", errors.New("not an address and a port")
	}
	return a.String(), nil
}

// parseChoice returns a parser of a few words in any case.
func parseChoice[T ~string](choices ...T) func(string) (T, error) {
	return func(s string) (T, error) {
		if c := T(strings.ToLower(s)); slices.Contains(choices, c) {
			return c, nil
		}
		return "", errors.New("not one of the choices")
	}
}
