package ec2api

import (
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/causeway-cni/causeway/scripts/vpcsim/internal/awserr"
	"github.com/causeway-cni/causeway/scripts/vpcsim/internal/vpc"
)

type createReply struct {
	head
	Interface   interfaceXML `xml:"networkInterface"`
	ClientToken string       `xml:"clientToken,omitempty"`
}

func (s *Server) createNetworkInterface(c *call) (reply, error) {
	in := vpc.CreateInput{
		SubnetID: c.required("SubnetId"), Description: c.text("Description"), Groups: c.texts("SecurityGroupId"),
		InterfaceType: c.text("InterfaceType"), ClientToken: c.text("ClientToken"), Tags: c.tagSpecification("network-interface"),
		V4: vpc.Ask{
			Count: c.number("SecondaryPrivateIpAddressCount"), PrefixCount: c.number("Ipv4PrefixCount"),
			Prefixes: c.prefixes(c.fields("Ipv4Prefix", "Ipv4Prefix")),
		},
		V6: vpc.Ask{
			Count: c.number("Ipv6AddressCount"), Addresses: c.addrs(c.fields("Ipv6Addresses", "Ipv6Address")),
			PrefixCount: c.number("Ipv6PrefixCount"), Prefixes: c.prefixes(c.fields("Ipv6Prefix", "Ipv6Prefix")),
		},
		ConnectionTracking: c.connectionTracking(),
	}
	c.privateAddresses(&in)
	c.text("EnablePrimaryIpv6")
	c.text("Operator.Principal")
	if err := c.dry(); err != nil {
		return nil, err
	}
	e, err := s.model.CreateNetworkInterface(c.Call, in)
	if err != nil {
		return nil, err
	}
	return &createReply{Interface: s.interfaceShape(e), ClientToken: in.ClientToken}, nil
}

// privateAddresses reads the two ways to ask for given IPv4 addresses.
func (c *call) privateAddresses(in *vpc.CreateInput) {
	if text := c.text("PrivateIpAddress"); text != "" {
		if a := c.addrs([]string{text}); len(a) == 1 {
			in.Primary = a[0]
		}
	}
	for _, f := range c.structs("PrivateIpAddresses") {
		addrs := c.addrs([]string{f.required("PrivateIpAddress")})
		switch primary := f.on("Primary"); {
		case len(addrs) == 0:
		case primary && in.Primary.IsValid() && in.Primary != addrs[0]:
			c.fail(awserr.New("InvalidParameterCombination", "Only one primary private IP address can be specified"))
		case primary:
			in.Primary = addrs[0]
		default:
			in.V4.Addresses = append(in.V4.Addresses, addrs[0])
		}
	}
}

func (f form) connectionTracking() vpc.ConnectionTracking {
	return vpc.ConnectionTracking{
		TCPEstablished: f.number("ConnectionTrackingSpecification.TcpEstablishedTimeout"),
		UDPStream:      f.number("ConnectionTrackingSpecification.UdpStreamTimeout"),
		UDP:            f.number("ConnectionTrackingSpecification.UdpTimeout"),
	}
}

// interfaceID reads the required id of an ENI and refuses bad syntax.
func (f form) interfaceID() string {
	id := f.required("NetworkInterfaceId")
	f.wellFormed(id)
	return id
}

func (f form) wellFormed(id string) {
	if id != "" && !strings.HasPrefix(id, "eni-") {
		f.fail(awserr.New("InvalidNetworkInterfaceId.Malformed", "Invalid id: \"%s\" (expecting \"eni-...\")", id))
	}
}

type attachReply struct {
	head
	AttachmentID string `xml:"attachmentId"`
	NetworkCard  int    `xml:"networkCardIndex"`
}

func (s *Server) attachNetworkInterface(c *call) (reply, error) {
	in := vpc.AttachInput{InterfaceID: c.interfaceID(), InstanceID: c.required("InstanceId"), NetworkCard: c.number("NetworkCardIndex")}
	c.required("DeviceIndex")
	in.DeviceIndex = c.number("DeviceIndex")
	c.text("EnaQueueCount")
	c.enaSRD()
	if err := c.dry(); err != nil {
		return nil, err
	}
	a, err := s.model.AttachNetworkInterface(c.Call, in)
	if err != nil {
		return nil, err
	}
	return &attachReply{AttachmentID: a.ID, NetworkCard: a.NetworkCard}, nil
}

// enaSRD accepts the settings of ENA Express, which change nothing here.
func (f form) enaSRD() {
	f.flag("EnaSrdSpecification.EnaSrdEnabled")
	f.flag("EnaSrdSpecification.EnaSrdUdpSpecification.EnaSrdUdpEnabled")
}

func (s *Server) detachNetworkInterface(c *call) (reply, error) {
	id, force := c.required("AttachmentId"), c.on("Force")
	if id != "" && !strings.HasPrefix(id, "eni-attach-") {
		c.fail(awserr.New("InvalidNetworkInterfaceAttachmentId.Malformed", "Invalid id: \"%s\" (expecting \"eni-attach-...\")", id))
	}
	if err := c.dry(); err != nil {
		return nil, err
	}
	if err := s.model.DetachNetworkInterface(c.Call, id, force); err != nil {
		return nil, err
	}
	return done()
}

func (s *Server) deleteNetworkInterface(c *call) (reply, error) {
	id := c.interfaceID()
	if err := c.dry(); err != nil {
		return nil, err
	}
	if err := s.model.DeleteNetworkInterface(c.Call, id); err != nil {
		return nil, err
	}
	return done()
}

func (s *Server) modifyNetworkInterfaceAttribute(c *call) (reply, error) {
	id := c.interfaceID()
	in := vpc.ModifyInput{
		Groups: c.texts("SecurityGroupId"), SourceDestCheck: c.flag("SourceDestCheck.Value"),
		AttachmentID: c.text("Attachment.AttachmentId"), DeleteOnTermination: c.flag("Attachment.DeleteOnTermination"),
	}
	if text, ok := c.lookup("Description.Value"); ok {
		in.Description = &text
	}
	for _, name := range []string{"AssociatePublicIpAddress", "EnablePrimaryIpv6", "EnaSrdSpecification"} {
		in.Other = in.Other || c.has(name)
		c.flag(name)
	}
	c.enaSRD()
	if c.has("ConnectionTrackingSpecification") {
		t := c.connectionTracking()
		in.ConnectionTracking = &t
	}
	if err := c.dry(); err != nil {
		return nil, err
	}
	if err := s.model.ModifyNetworkInterface(c.Call, id, in); err != nil {
		return nil, err
	}
	return done()
}

type describeInterfacesReply struct {
	head
	Interfaces *list[interfaceXML] `xml:"networkInterfaceSet"`
	NextToken  string              `xml:"nextToken,omitempty"`
}

func (s *Server) describeNetworkInterfaces(c *call) (reply, error) {
	ids, filters := c.texts("NetworkInterfaceId"), c.filters()
	p := c.page(5, 1000)
	c.exclusive(p, ids, "networkInterfaceIds")
	c.flag("IncludeManagedResources")
	for _, id := range ids {
		c.wellFormed(id)
	}
	if err := c.dry(); err != nil {
		return nil, err
	}
	all, err := named(s.described(c, ids), ids)
	if err != nil {
		return nil, err
	}
	chosen, err := choose(all, filters, s.interfaceFields(), func(e vpc.ENI) map[string]string { return e.Tags })
	if err != nil {
		return nil, err
	}
	items, next := cut(chosen, p, s.topo.PageLimit, func(e vpc.ENI) string { return e.ID })
	return &describeInterfacesReply{Interfaces: listOf(items, s.interfaceShape), NextToken: next}, nil
}

// described lists the ENIs with these ids, or all without ids, as the call
// sees them.
func (s *Server) described(c *call, ids []string) []vpc.ENI {
	all := s.model.Described(time.Duration(c.effect.Stale), ids...)
	for i := range all {
		if c.effect.NoAttachment {
			all[i].Attachment = nil
		}
		if c.effect.NoTags {
			all[i].Tags = nil
		}
	}
	return all
}

// named lists the ENIs that were found by ids, if there are ids. Unknown ones
// fail the whole call.
func named(all []vpc.ENI, ids []string) ([]vpc.ENI, error) {
	var missing []string
	for _, id := range ids {
		if !slices.ContainsFunc(all, func(e vpc.ENI) bool { return e.ID == id }) {
			missing = append(missing, id)
		}
	}
	if len(missing) > 0 {
		return nil, vpc.NotFound(missing...)
	}
	return all, nil
}

// interfaceFields are the filters of DescribeNetworkInterfaces.
func (s *Server) interfaceFields() fields[vpc.ENI] {
	attachment := func(get func(*vpc.Attachment) string) func(vpc.ENI) []string {
		return func(e vpc.ENI) []string {
			if e.Attachment == nil {
				return nil
			}
			return []string{get(e.Attachment)}
		}
	}
	vpcID := s.model.VPC().ID
	return fields[vpc.ENI]{
		"network-interface-id":             one(func(e vpc.ENI) string { return e.ID }),
		"vpc-id":                           one(func(vpc.ENI) string { return vpcID }),
		"subnet-id":                        one(func(e vpc.ENI) string { return e.SubnetID }),
		"status":                           one(func(e vpc.ENI) string { return string(e.Status) }),
		"description":                      one(func(e vpc.ENI) string { return e.Description }),
		"mac-address":                      one(func(e vpc.ENI) string { return e.MAC }),
		"private-ip-address":               one(func(e vpc.ENI) string { return e.Primary.String() }),
		"private-dns-name":                 one(func(e vpc.ENI) string { return s.privateDNS(e.Primary) }),
		"addresses.private-ip-address":     func(e vpc.ENI) []string { return texts(append(e.Secondary, e.Primary)) },
		"addresses.primary":                func(e vpc.ENI) []string { return primaries(e) },
		"ipv6-addresses.ipv6-address":      func(e vpc.ENI) []string { return texts(e.IPv6) },
		"ipv4-prefix":                      func(e vpc.ENI) []string { return texts(e.Prefixes) },
		"ipv6-prefix":                      func(e vpc.ENI) []string { return texts(e.IPv6Prefixes) },
		"association.public-ip":            func(e vpc.ENI) []string { return publics(e) },
		"attachment.instance-id":           attachment(func(a *vpc.Attachment) string { return a.InstanceID }),
		"attachment.attachment-id":         attachment(func(a *vpc.Attachment) string { return a.ID }),
		"attachment.device-index":          attachment(func(a *vpc.Attachment) string { return strconv.Itoa(a.DeviceIndex) }),
		"attachment.network-card-index":    attachment(func(a *vpc.Attachment) string { return strconv.Itoa(a.NetworkCard) }),
		"attachment.status":                attachment(func(a *vpc.Attachment) string { return string(a.Status) }),
		"attachment.delete-on-termination": attachment(func(a *vpc.Attachment) string { return strconv.FormatBool(a.DeleteOnTermination) }),
		"attachment.instance-owner-id":     attachment(func(*vpc.Attachment) string { return s.topo.Account }),
		"group-id":                         func(e vpc.ENI) []string { return e.Groups },
		"interface-type":                   one(func(e vpc.ENI) string { return e.InterfaceType }),
		"availability-zone":                one(func(e vpc.ENI) string { return e.Zone }),
		"owner-id":                         one(func(vpc.ENI) string { return s.topo.Account }),
		"requester-id":                     one(func(e vpc.ENI) string { return e.RequesterID }),
		"requester-managed":                one(func(e vpc.ENI) string { return strconv.FormatBool(e.Managed) }),
		"source-dest-check":                one(func(e vpc.ENI) string { return strconv.FormatBool(e.SourceDestCheck) }),
	}
}

func texts[T interface{ String() string }](values []T) []string {
	var out []string
	for _, v := range values {
		out = append(out, v.String())
	}
	return out
}

func primaries(e vpc.ENI) []string {
	if len(e.Secondary) == 0 {
		return []string{"true"}
	}
	return []string{"true", "false"}
}

func publics(e vpc.ENI) []string {
	var out []string
	for _, p := range e.Public {
		out = append(out, p.String())
	}
	return out
}
