package admin

import (
	"net/http"
	"slices"
	"strings"

	"github.com/causeway-cni/causeway/scripts/vpcsim/control"
	"github.com/causeway-cni/causeway/scripts/vpcsim/internal/vpc"
)

func (s *server) status(*http.Request) (any, error) {
	v := s.model.VPC()
	out := control.Status{Seed: s.model.Seed(), Region: s.model.Topology().Region, VPCID: v.ID, CIDRs: v.CIDRs, ClusterEndpoint: s.fabric.ClusterEndpoint}
	names := map[string]string{}
	for _, n := range s.model.Subnets() {
		names[n.ID] = n.Name
		one := control.SubnetStatus{Name: n.Name, ID: n.ID, Zone: n.Zone, CIDR: n.CIDR.String(), Egress: string(n.Egress), Free: n.Free, Tenants: n.Tenants}
		if n.IPv6CIDR.IsValid() {
			one.IPv6CIDR = n.IPv6CIDR.String()
		}
		out.Subnets = append(out.Subnets, one)
	}
	present := map[string]bool{}
	for _, i := range s.model.View().Interfaces {
		present[i.ID] = i.DevicePresent
	}
	attached := map[string][]control.InterfaceStatus{}
	for _, e := range s.model.Interfaces() {
		if e.Managed {
			continue // told with its load balancer
		}
		one := interfaceStatus(e, names[e.SubnetID], present[e.ID])
		if e.Attachment == nil {
			out.Detached = append(out.Detached, one)
		} else {
			attached[e.Attachment.Node] = append(attached[e.Attachment.Node], one)
		}
	}
	for _, i := range s.model.Instances() {
		out.Nodes = append(out.Nodes, s.nodeStatus(i, names[i.SubnetID], attached[i.Node]))
	}
	if s.fabric.Balancers != nil {
		out.LoadBalancers = s.fabric.Balancers.List()
	}
	slices.SortFunc(out.Nodes, func(a, b control.NodeStatus) int { return strings.Compare(a.Name, b.Name) })
	return out, nil
}

func (s *server) nodeStatus(i vpc.Instance, subnet string, enis []control.InterfaceStatus) control.NodeStatus {
	slices.SortFunc(enis, func(a, b control.InterfaceStatus) int {
		return (a.NetworkCard-b.NetworkCard)*100 + a.DeviceIndex - b.DeviceIndex
	})
	out := control.NodeStatus{
		Name: i.Node, InstanceID: i.ID, Type: i.Type, State: string(i.State), Subnet: subnet, Zone: i.Zone,
		AccessKey: i.Credentials.AccessKeyID, Interfaces: enis,
	}
	if s.fabric.Node != nil {
		out.Namespace, out.Env = s.fabric.Node(i.Node)
	}
	return out
}

func interfaceStatus(e vpc.ENI, subnet string, present bool) control.InterfaceStatus {
	out := control.InterfaceStatus{
		ID: e.ID, MAC: e.MAC, Subnet: subnet, Status: string(e.Status), Description: e.Description, DevicePresent: present,
		SourceDestCheck: e.SourceDestCheck, Addresses: e.Addresses(), Prefixes: e.AllPrefixes(), Public: map[string]string{}, Tags: e.Tags,
	}
	for private, public := range e.Public {
		out.Public[private.String()] = public.String()
	}
	if a := e.Attachment; a != nil {
		out.AttachmentID, out.AttachmentStatus, out.DeviceIndex = a.ID, string(a.Status), a.DeviceIndex
		out.NetworkCard, out.DeleteOnTermination = a.NetworkCard, a.DeleteOnTermination
	}
	return out
}
