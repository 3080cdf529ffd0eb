package plugin

import (
	"cmp"
	"encoding/json"
	"fmt"
	"math"
	"net/netip"
	"slices"
	"strings"

	"github.com/containernetworking/cni/pkg/skel"
	"github.com/containernetworking/cni/pkg/types"

	"github.com/causeway-cni/causeway/rpc"
)

// portMapping is an entry of runtimeConfig.portMappings, as CNI's conventions
// describe it (CONVENTIONS.md, "port mappings").
type portMapping struct {
	HostPort      int    `json:"hostPort"` // 0: the container's port is only told
	ContainerPort int    `json:"containerPort"`
	Protocol      string `json:"protocol"` // empty is tcp
	HostIP        string `json:"hostIP,omitempty"`
}

// readWithPorts is read for the verbs that need the pod's host ports.
func (p Plugin) readWithPorts(args *skel.CmdArgs) (call, error) {
	c, err := p.read(args)
	if err != nil {
		return c, err
	}
	if c.ports, err = hostPorts(c.conf.RuntimeConfig.PortMappings); err != nil {
		return c, types.NewError(types.ErrInvalidNetworkConfig, err.Error(), "")
	}
	return c, nil
}

// hostPorts reads the host ports that a pod asks for, each once.
func hostPorts(text json.RawMessage) ([]*rpc.PortMapping, error) {
	if len(text) == 0 {
		return nil, nil
	}
	var mappings []portMapping
	if err := json.Unmarshal(text, &mappings); err != nil {
		return nil, fmt.Errorf("runtimeConfig.portMappings is %s; want a list of hostPort, containerPort, protocol and hostIP: %w", text, err)
	}
	var out []*rpc.PortMapping
	for i, m := range mappings {
		if m.HostPort == 0 {
			continue
		}
		p, err := m.read()
		if err != nil {
			return nil, fmt.Errorf("runtimeConfig.portMappings[%d].%w", i, err)
		}
		if !slices.ContainsFunc(out, func(o *rpc.PortMapping) bool { return portText(o) == portText(p) }) {
			out = append(out, p)
		}
	}
	return out, nil
}

func (m portMapping) read() (*rpc.PortMapping, error) {
	for _, number := range []struct {
		field string
		value int
	}{{"hostPort", m.HostPort}, {"containerPort", m.ContainerPort}} {
		if number.value < 1 || number.value > math.MaxUint16 {
			return nil, fmt.Errorf("%s is %d; want 1-65535", number.field, number.value)
		}
	}
	protocol := cmp.Or(strings.ToLower(m.Protocol), "tcp") // containerd sends lower case, others what the pod has
	if !slices.Contains([]string{"tcp", "udp", "sctp"}, protocol) {
		return nil, fmt.Errorf("protocol is %q; want tcp, udp or sctp", m.Protocol)
	}
	p := &rpc.PortMapping{HostPort: uint32(m.HostPort), ContainerPort: uint32(m.ContainerPort), Protocol: protocol}
	if m.HostIP == "" {
		return p, nil
	}
	a, err := netip.ParseAddr(m.HostIP)
	if err != nil || a.Zone() != "" {
		return nil, fmt.Errorf("hostIP is %q; want an IP address of the node, or nothing for all", m.HostIP)
	}
	if !a.Unmap().IsUnspecified() {
		p.HostIp = a.Unmap().String()
	}
	return p, nil
}

// portDiff says what differs between the host ports that the pod asks for and
// those that ipamd holds for it. A daemon that knows no host ports holds none.
func portDiff(want, have []*rpc.PortMapping) []string {
	wanted, held := portTexts(want), portTexts(have)
	var wrong []string
	for _, p := range wanted {
		if !slices.Contains(held, p) {
			wrong = append(wrong, "ipamd does not hold host port "+p+" for this pod")
		}
	}
	for _, p := range held {
		if !slices.Contains(wanted, p) {
			wrong = append(wrong, "ipamd holds host port "+p+", which the runtime does not ask for")
		}
	}
	return wrong
}

func portTexts(mappings []*rpc.PortMapping) []string {
	var out []string
	for _, m := range mappings {
		out = append(out, portText(m))
	}
	return out
}

// portText is "8080/tcp to 80", or "192.0.2.1 8080/tcp to 80".
func portText(m *rpc.PortMapping) string {
	return strings.TrimSpace(fmt.Sprintf("%s %d/%s to %d", m.GetHostIp(), m.GetHostPort(), m.GetProtocol(), m.GetContainerPort()))
}
