package kubeapi

import (
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"strings"
)

// The ranges that addresses and node ports of services come from: EKS's
// default one, one as EKS gives to IPv6 clusters, and Kubernetes's default one.
var (
	services4  = netip.MustParsePrefix("10.100.0.0/16")
	services6  = netip.MustParsePrefix("fd30:1c53:5f8a::/108")
	firstPort  = 30000
	lastPort   = 32767
	wantsPorts = []string{"NodePort", "LoadBalancer"}
	ranges     = map[string]netip.Prefix{"IPv4": services4, "IPv6": services6}
)

// claims are the addresses and node ports that services have. What is given
// out goes round, so that what was freed is not soon another's: flows of the
// old one may still be about.
type claims struct {
	owner map[string]string   // by claim: id of the service
	of    map[string][]string // the other way round
	last  map[string]netip.Addr
	port  int // the last one given
}

func newClaims() *claims {
	return &claims{
		owner: map[string]string{}, of: map[string][]string{},
		last: map[string]netip.Addr{"IPv4": services4.Addr(), "IPv6": services6.Addr()}, port: lastPort,
	}
}

// complete gives a service the defaults that the API server gives, and the
// addresses and ports that it lacks: those of its old state, or free ones.
// Other objects with defaults get theirs.
func (c *claims) complete(o *object, content, old map[string]any) error {
	switch o.resource.Kind {
	case "Service":
		return c.service(o, content, old)
	case "EndpointSlice":
		for _, p := range maps(content, "ports") {
			preset(p, "name", "")
			preset(p, "protocol", "TCP")
		}
	case "Pod":
		preset(child(content, "status"), "phase", "Pending")
	}
	return nil
}

func (c *claims) service(o *object, content, old map[string]any) error {
	spec := child(content, "spec")
	preset(spec, "type", "ClusterIP")
	preset(spec, "sessionAffinity", "None")
	if text(spec, "sessionAffinity") == "ClientIP" {
		preset(child(child(spec, "sessionAffinityConfig"), "clientIP"), "timeoutSeconds", 10800)
	}
	for _, p := range maps(spec, "ports") {
		preset(p, "protocol", "TCP")
		preset(p, "targetPort", p["port"])
	}
	preset(child(content, "status"), "loadBalancer", map[string]any{})
	for _, i := range maps(child(child(content, "status"), "loadBalancer"), "ingress") {
		if i["ip"] != nil {
			preset(i, "ipMode", "VIP")
		}
	}
	if text(spec, "type") == "ExternalName" {
		return nil
	}
	preset(spec, "internalTrafficPolicy", "Cluster")
	oldSpec := map[string]any{}
	if old != nil {
		oldSpec = child(old, "spec")
	}
	if err := c.addresses(o, spec, oldSpec); err != nil {
		return err
	}
	if slices.Contains(wantsPorts, text(spec, "type")) {
		preset(spec, "externalTrafficPolicy", "Cluster")
		return c.ports(o, spec, oldSpec)
	}
	return nil
}

// addresses sets clusterIP and clusterIPs.
func (c *claims) addresses(o *object, spec, old map[string]any) error {
	for _, from := range []map[string]any{spec, old} {
		if spec["clusterIP"] == nil && spec["clusterIPs"] == nil && from["clusterIPs"] != nil {
			spec["clusterIPs"] = from["clusterIPs"]
		}
	}
	ips := texts(spec, "clusterIPs")
	if ip := text(spec, "clusterIP"); ip != "" && len(ips) == 0 {
		ips = []string{ip}
	}
	families := texts(spec, "ipFamilies")
	if len(ips) == 0 {
		if len(families) == 0 {
			families = []string{"IPv4"}
		}
		for _, f := range families {
			ip, err := c.freeAddress(f)
			if err != nil {
				return invalid(o.resource, o.name, "spec.ipFamilies: %s: %v", f, err)
			}
			ips = append(ips, ip)
		}
	}
	for _, ip := range ips {
		if owner := c.owner[ip]; ip != "None" && owner != "" && owner != o.id() {
			return invalid(o.resource, o.name, "spec.clusterIPs: Invalid value: %q: provided IP is already allocated (by %s)", ip, owner)
		}
	}
	spec["clusterIP"], spec["clusterIPs"] = ips[0], anys(ips)
	if len(families) == 0 {
		for _, ip := range ips {
			families = append(families, map[bool]string{true: "IPv6", false: "IPv4"}[strings.Contains(ip, ":")])
		}
	}
	spec["ipFamilies"] = anys(families)
	preset(spec, "ipFamilyPolicy", map[bool]string{true: "RequireDualStack", false: "SingleStack"}[len(families) > 1])
	return nil
}

func anys(texts []string) []any {
	var out []any
	for _, t := range texts {
		out = append(out, t)
	}
	return out
}

// freeAddress is the next of a family's range that nobody has.
func (c *claims) freeAddress(family string) (string, error) {
	block, ok := ranges[family]
	if !ok {
		return "", errors.New("use IPv4 or IPv6")
	}
	for a, tried := c.last[family].Next(), 0; tried <= 1<<(block.Addr().BitLen()-block.Bits()); a, tried = a.Next(), tried+1 {
		if !block.Contains(a) {
			a = block.Addr().Next()
		}
		if c.owner[a.String()] == "" {
			c.last[family] = a
			return a.String(), nil
		}
	}
	return "", fmt.Errorf("range %s is full", block)
}

// ports sets node ports and the health-check port.
func (c *claims) ports(o *object, spec, old map[string]any) error {
	taken := map[string]bool{} // by ports of this very service
	if text(spec, "type") != "LoadBalancer" || spec["allocateLoadBalancerNodePorts"] != false {
		for _, p := range maps(spec, "ports") {
			if number(p, "nodePort") == 0 {
				p["nodePort"] = c.portOf(p, old, taken)
			}
			if err := c.take(o, "nodePort", number(p, "nodePort"), taken); err != nil {
				return err
			}
		}
	}
	if text(spec, "type") != "LoadBalancer" || text(spec, "externalTrafficPolicy") != "Local" {
		return nil
	}
	if number(spec, "healthCheckNodePort") == 0 {
		if spec["healthCheckNodePort"] = old["healthCheckNodePort"]; number(spec, "healthCheckNodePort") == 0 {
			spec["healthCheckNodePort"] = c.freePort(taken)
		}
	}
	return c.take(o, "healthCheckNodePort", number(spec, "healthCheckNodePort"), taken)
}

// portOf is the node port that this port had, or a free one.
func (c *claims) portOf(port, old map[string]any, taken map[string]bool) int {
	for _, p := range maps(old, "ports") {
		if number(p, "port") == number(port, "port") && text(p, "protocol") == text(port, "protocol") && number(p, "nodePort") != 0 {
			return number(p, "nodePort")
		}
	}
	return c.freePort(taken)
}

// freePort is the next node port that nobody has, 0 if all are taken.
func (c *claims) freePort(taken map[string]bool) int {
	for range lastPort - firstPort + 1 {
		if c.port++; c.port > lastPort {
			c.port = firstPort
		}
		if name := portClaim(c.port); c.owner[name] == "" && !taken[name] {
			return c.port
		}
	}
	return 0
}

func (c *claims) take(o *object, field string, n int, taken map[string]bool) error {
	name := portClaim(n)
	if owner := c.owner[name]; owner != "" && owner != o.id() {
		return invalid(o.resource, o.name, "spec.%s: Invalid value: %d: provided port is already allocated (by %s)", field, n, owner)
	}
	taken[name] = true
	return nil
}

func portClaim(n int) string { return fmt.Sprintf("port %d", n) }

// release frees what a service has.
func (c *claims) release(o *object) {
	for _, claim := range c.of[o.id()] {
		delete(c.owner, claim)
	}
	delete(c.of, o.id())
}

// move makes the claims of a service those of its new state.
func (c *claims) move(o *object, content map[string]any) {
	c.release(o)
	spec := child(content, "spec")
	all := slices.DeleteFunc(texts(spec, "clusterIPs"), func(ip string) bool { return ip == "None" })
	ports := []int{number(spec, "healthCheckNodePort")}
	for _, p := range maps(spec, "ports") {
		ports = append(ports, number(p, "nodePort"))
	}
	for _, n := range ports {
		if n != 0 {
			all = append(all, portClaim(n))
		}
	}
	for _, claim := range all {
		c.owner[claim] = o.id()
	}
	c.of[o.id()] = all
}
