package server

import (
	"context"
	"fmt"
	"math"
	"net/netip"
	"slices"
	"time"

	"google.golang.org/grpc/codes"

	"github.com/causeway-cni/causeway/ipamd/internal/pool"
	"github.com/causeway-cni/causeway/rpc"
)

// publishTimeout is how long an ADD waits for its host ports. A pod that is up
// without them for a moment is better than one that is not up.
const publishTimeout = 2 * time.Second

// publish waits until the host ports of an assignment lead to it.
func (s *Server) publish(ctx context.Context, a pool.Assignment) {
	if len(a.Ports) == 0 || s.settings.Publish == nil {
		return
	}
	ctx, cancel := context.WithTimeout(ctx, publishTimeout)
	defer cancel()
	if err := s.settings.Publish(ctx, a); err != nil {
		s.settings.Log.Warn("answering an ADD before its host ports lead to the pod",
			"pod", a.Pod.Namespace+"/"+a.Pod.Name, "address", a.Address, "ports", a.Ports, "error", err)
	}
}

// hostPortsOf checks host ports that a pod asks for.
func (s *Server) hostPortsOf(mappings []*rpc.PortMapping) ([]pool.HostPort, error) {
	if len(mappings) > 0 && !s.settings.HostPorts {
		return nil, invalid(fmt.Sprintf("port_mappings: host port %d: ipamd programs no services here, and so no host ports; "+
			"want PROXY_MODE iptables or nftables, or a configuration list without capability portMappings for causeway-cni that chains the portmap plugin",
			mappings[0].GetHostPort()))
	}
	var ports []pool.HostPort
	for i, m := range mappings {
		p, err := hostPortOf(m)
		if err != nil {
			return nil, invalid(fmt.Sprintf("port_mappings[%d].%v", i, err))
		}
		if !slices.Contains(ports, p) {
			ports = append(ports, p)
		}
	}
	return ports, nil
}

func hostPortOf(m *rpc.PortMapping) (pool.HostPort, error) {
	p := pool.HostPort{Port: uint16(m.GetHostPort()), Container: uint16(m.GetContainerPort()), Protocol: m.GetProtocol()}
	for _, number := range []struct {
		field string
		value uint32
	}{{"host_port", m.GetHostPort()}, {"container_port", m.GetContainerPort()}} {
		if number.value == 0 || number.value > math.MaxUint16 {
			return p, fmt.Errorf("%s is %d; want 1-65535", number.field, number.value)
		}
	}
	if !slices.Contains([]string{"tcp", "udp", "sctp"}, p.Protocol) {
		return p, fmt.Errorf("protocol is %q; want tcp, udp or sctp", p.Protocol)
	}
	if text := m.GetHostIp(); text != "" {
		a, err := netip.ParseAddr(text)
		if err != nil || a.Zone() != "" || a.IsUnspecified() {
			return p, fmt.Errorf("host_ip is %q; want one address of the node, or nothing for all", text)
		}
		p.Addr = a.Unmap()
	}
	return p, nil
}

func mappingsOf(ports []pool.HostPort) []*rpc.PortMapping {
	var out []*rpc.PortMapping
	for _, p := range ports {
		m := &rpc.PortMapping{HostPort: uint32(p.Port), ContainerPort: uint32(p.Container), Protocol: p.Protocol}
		if p.Addr.IsValid() {
			m.HostIp = p.Addr.String()
		}
		out = append(out, m)
	}
	return out
}

func invalid(message string) error {
	return failure(codes.InvalidArgument, rpc.Reason_REASON_INVALID_REQUEST, message)
}
