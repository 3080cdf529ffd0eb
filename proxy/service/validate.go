package service

import (
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"time"
)

// maxAffinity is the longest session affinity that the API allows, a day.
const maxAffinity = 24 * time.Hour

// served says whether the service is one of ours: not another proxy's, not
// headless, and not only a name.
func (s Service) served() bool {
	return !s.OtherProxy && s.Type != ExternalName && len(s.ClusterIPs) > 0
}

// validate names all that is wrong with a service, by field, value and what
// would be right. The API server allows none of it.
func (s Service) validate() error {
	var faults []error
	refuse := func(format string, args ...any) { faults = append(faults, fmt.Errorf(format, args...)) }
	for _, f := range s.Faults {
		refuse("%s", f)
	}
	if !label(s.Namespace) || !label(s.Name) {
		refuse("name %q: want labels of 1 to 63 lower-case letters, digits and hyphens", s.Key)
	}
	if s.Affinity < 0 || s.Affinity > maxAffinity || s.Affinity%time.Second != 0 {
		refuse("session affinity timeout %s: want whole seconds up to %s", s.Affinity, maxAffinity)
	}
	if s.HealthCheckNodePort < 0 || s.HealthCheckNodePort > 65535 {
		refuse("healthCheckNodePort %d: want 1 to 65535", s.HealthCheckNodePort)
	}
	for _, r := range s.SourceRanges {
		if !r.IsValid() || r.Masked() != r {
			refuse("loadBalancerSourceRanges %s: want a CIDR block without host bits", r)
		}
	}
	faults = append(faults, s.validateAddrs()...)
	faults = append(faults, s.validatePorts()...)
	return errors.Join(faults...)
}

func (s Service) validateAddrs() []error {
	var faults []error
	families := map[Family]bool{}
	for _, a := range s.ClusterIPs {
		if !a.IsValid() || families[FamilyOf(a)] {
			faults = append(faults, fmt.Errorf("clusterIPs %v: want at most one address of each family", s.ClusterIPs))
			break
		}
		families[FamilyOf(a)] = true
	}
	if slices.Contains(s.ExternalIPs, netip.Addr{}) {
		faults = append(faults, fmt.Errorf("externalIPs %v: want IP addresses", s.ExternalIPs))
	}
	if slices.ContainsFunc(s.Ingress, func(i Ingress) bool { return !i.Addr.IsValid() }) {
		faults = append(faults, fmt.Errorf("loadBalancer.ingress %v: want IP addresses", s.Ingress))
	}
	return faults
}

func (s Service) validatePorts() []error {
	var faults []error
	names := map[string]bool{}
	type front struct {
		protocol Protocol
		port     int32
	}
	ports, nodePorts := map[front]bool{}, map[front]bool{}
	for _, p := range s.Ports {
		refuse := func(format string, args ...any) {
			faults = append(faults, fmt.Errorf("port %q: %w", p.Name, fmt.Errorf(format, args...)))
		}
		if p.Name != "" && !label(p.Name) || names[p.Name] {
			refuse("want a name of its own, of up to 63 lower-case letters, digits and hyphens")
		}
		if err := p.Protocol.validate(); err != nil {
			refuse("%w", err)
		}
		if p.Port < 1 || p.Port > 65535 || p.NodePort < 0 || p.NodePort > 65535 {
			refuse("port %d, nodePort %d: want 1 to 65535", p.Port, p.NodePort)
		}
		front, node := front{p.Protocol, p.Port}, front{p.Protocol, p.NodePort}
		if ports[front] || p.NodePort != 0 && nodePorts[node] {
			refuse("%s port %d, nodePort %d: want each once in a service", p.Protocol, p.Port, p.NodePort)
		}
		names[p.Name], ports[front], nodePorts[node] = true, true, true
	}
	return faults
}

func (p Protocol) validate() error {
	if p != TCP && p != UDP && p != SCTP {
		return fmt.Errorf("protocol %q: want TCP, UDP or SCTP", string(p))
	}
	return nil
}

// label says whether s is a label of RFC 1123, as all names of the API that
// get into rules are. It keeps comments below the kernel's 255 bytes.
func label(s string) bool {
	plain := func(r rune) bool { return r >= 'a' && r <= 'z' || r >= '0' && r <= '9' || r == '-' }
	return s != "" && len(s) <= 63 && s[0] != '-' && s[len(s)-1] != '-' &&
		!strings.ContainsFunc(s, func(r rune) bool { return !plain(r) })
}
