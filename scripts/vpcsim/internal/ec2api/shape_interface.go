package ec2api

import (
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"time"

	"github.com/causeway-cni/causeway/scripts/vpcsim/internal/vpc"
)

// interfaceXML is a network interface in the answers of Create and Describe.
type interfaceXML struct {
	ID                 string                 `xml:"networkInterfaceId"`
	SubnetID           string                 `xml:"subnetId"`
	VPCID              string                 `xml:"vpcId"`
	Zone               string                 `xml:"availabilityZone"`
	Description        string                 `xml:"description"`
	OwnerID            string                 `xml:"ownerId"`
	RequesterID        string                 `xml:"requesterId,omitempty"`
	RequesterManaged   bool                   `xml:"requesterManaged"`
	Status             string                 `xml:"status"`
	MAC                string                 `xml:"macAddress"`
	PrivateIP          string                 `xml:"privateIpAddress"`
	PrivateDNSName     string                 `xml:"privateDnsName,omitempty"`
	SourceDestCheck    bool                   `xml:"sourceDestCheck"`
	Groups             *list[groupXML]        `xml:"groupSet"`
	Attachment         *attachmentXML         `xml:"attachment"`
	Association        *associationXML        `xml:"association"`
	Tags               *list[tagXML]          `xml:"tagSet"`
	PrivateIPs         *list[privateIPXML]    `xml:"privateIpAddressesSet"`
	IPv6               *list[ipv6XML]         `xml:"ipv6AddressesSet"`
	Prefixes           *list[prefix4XML]      `xml:"ipv4PrefixSet"`
	IPv6Prefixes       *list[prefix6XML]      `xml:"ipv6PrefixSet"`
	ConnectionTracking *connectionTrackingXML `xml:"connectionTrackingConfiguration"`
	InterfaceType      string                 `xml:"interfaceType"`
}

type groupXML struct {
	ID   string `xml:"groupId"`
	Name string `xml:"groupName"`
}

type attachmentXML struct {
	ID                  string `xml:"attachmentId"`
	InstanceID          string `xml:"instanceId,omitempty"` // absent in DescribeInstances
	InstanceOwnerID     string `xml:"instanceOwnerId,omitempty"`
	DeviceIndex         int    `xml:"deviceIndex"`
	NetworkCard         int    `xml:"networkCardIndex"`
	Status              string `xml:"status"`
	AttachTime          string `xml:"attachTime"`
	DeleteOnTermination bool   `xml:"deleteOnTermination"`
}

type associationXML struct {
	PublicIP      string `xml:"publicIp"`
	PublicDNSName string `xml:"publicDnsName"`
	IPOwnerID     string `xml:"ipOwnerId"`
}

type tagXML struct {
	Key   string `xml:"key"`
	Value string `xml:"value"`
}

type privateIPXML struct {
	Address     string          `xml:"privateIpAddress"`
	DNSName     string          `xml:"privateDnsName,omitempty"`
	Primary     bool            `xml:"primary"`
	Association *associationXML `xml:"association"`
}

type ipv6XML struct {
	Address string `xml:"ipv6Address"`
}

type prefix4XML struct {
	Prefix string `xml:"ipv4Prefix"`
}

type prefix6XML struct {
	Prefix string `xml:"ipv6Prefix"`
}

type connectionTrackingXML struct {
	TCPEstablished int `xml:"tcpEstablishedTimeout,omitempty"`
	UDPStream      int `xml:"udpStreamTimeout,omitempty"`
	UDP            int `xml:"udpTimeout,omitempty"`
}

// interfaceShape writes an ENI as EC2 does. Addresses within prefixes are not
// listed one by one; attachment and association are absent where there is none.
func (s *Server) interfaceShape(e vpc.ENI) interfaceXML {
	out := interfaceXML{
		ID: e.ID, SubnetID: e.SubnetID, VPCID: s.model.VPC().ID, Zone: e.Zone, Description: e.Description,
		OwnerID: s.topo.Account, RequesterID: e.RequesterID, RequesterManaged: e.Managed, Status: string(e.Status), MAC: e.MAC,
		PrivateIP: e.Primary.String(), PrivateDNSName: s.privateDNS(e.Primary), SourceDestCheck: e.SourceDestCheck,
		Groups: s.groupShapes(e.Groups), Attachment: s.attachmentShape(e.Attachment), Association: s.associationShape(e, e.Primary),
		Tags: tagShapes(e.Tags), PrivateIPs: s.privateIPShapes(e),
		IPv6:          listOf(e.IPv6, func(a netip.Addr) ipv6XML { return ipv6XML{a.String()} }),
		Prefixes:      listOf(e.Prefixes, func(p netip.Prefix) prefix4XML { return prefix4XML{p.String()} }),
		IPv6Prefixes:  listOf(e.IPv6Prefixes, func(p netip.Prefix) prefix6XML { return prefix6XML{p.String()} }),
		InterfaceType: e.InterfaceType,
	}
	if e.ConnectionTracking != (vpc.ConnectionTracking{}) {
		t := connectionTrackingXML(e.ConnectionTracking)
		out.ConnectionTracking = &t
	}
	return out
}

func (s *Server) privateIPShapes(e vpc.ENI) *list[privateIPXML] {
	return listOf(append([]netip.Addr{e.Primary}, e.Secondary...), func(a netip.Addr) privateIPXML {
		return privateIPXML{a.String(), s.privateDNS(a), a == e.Primary, s.associationShape(e, a)}
	})
}

func (s *Server) attachmentShape(a *vpc.Attachment) *attachmentXML {
	if a == nil {
		return nil
	}
	return &attachmentXML{
		ID: a.ID, InstanceID: a.InstanceID, InstanceOwnerID: s.topo.Account, DeviceIndex: a.DeviceIndex, NetworkCard: a.NetworkCard,
		Status: string(a.Status), AttachTime: timestamp(a.AttachTime), DeleteOnTermination: a.DeleteOnTermination,
	}
}

func (s *Server) associationShape(e vpc.ENI, a netip.Addr) *associationXML {
	public, ok := e.Public[a]
	if !ok {
		return nil
	}
	return &associationXML{public.String(), s.publicDNS(public), "amazon"}
}

func (s *Server) groupShapes(ids []string) *list[groupXML] {
	names := map[string]string{}
	for _, g := range s.model.Groups() {
		names[g.ID] = g.Name
	}
	return listOf(ids, func(id string) groupXML { return groupXML{id, names[id]} })
}

func tagShapes(tags map[string]string) *list[tagXML] {
	return listOf(slices.Sorted(keysOf(tags)), func(k string) tagXML { return tagXML{k, tags[k]} })
}

func (s *Server) privateDNS(a netip.Addr) string {
	return fmt.Sprintf("ip-%s.%s.compute.internal", strings.ReplaceAll(a.String(), ".", "-"), s.topo.Region)
}

func (s *Server) publicDNS(a netip.Addr) string {
	return fmt.Sprintf("ec2-%s.%s.compute.amazonaws.com", strings.ReplaceAll(a.String(), ".", "-"), s.topo.Region)
}

func timestamp(t time.Time) string { return t.UTC().Format("2006-01-02T15:04:05.000Z") }
