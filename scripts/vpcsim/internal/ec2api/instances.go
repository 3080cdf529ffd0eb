package ec2api

import (
	"slices"
	"strings"
	"time"

	"github.com/causeway-cni/causeway/scripts/vpcsim/internal/awserr"
	"github.com/causeway-cni/causeway/scripts/vpcsim/internal/vpc"
)

type describeInstancesReply struct {
	head
	Reservations *list[reservationXML] `xml:"reservationSet"`
	NextToken    string                `xml:"nextToken,omitempty"`
}

type reservationXML struct {
	ID        string             `xml:"reservationId"`
	OwnerID   string             `xml:"ownerId"`
	Groups    *list[groupXML]    `xml:"groupSet"`
	Instances *list[instanceXML] `xml:"instancesSet"`
}

type instanceXML struct {
	ID              string              `xml:"instanceId"`
	ImageID         string              `xml:"imageId"`
	Code            int                 `xml:"instanceState>code"`
	State           string              `xml:"instanceState>name"`
	PrivateDNSName  string              `xml:"privateDnsName"`
	DNSName         string              `xml:"dnsName"`
	Type            string              `xml:"instanceType"`
	LaunchTime      string              `xml:"launchTime"`
	Zone            string              `xml:"placement>availabilityZone"`
	Tenancy         string              `xml:"placement>tenancy"`
	SubnetID        string              `xml:"subnetId,omitempty"`
	VPCID           string              `xml:"vpcId,omitempty"`
	PrivateIP       string              `xml:"privateIpAddress,omitempty"`
	PublicIP        string              `xml:"ipAddress,omitempty"`
	SourceDestCheck bool                `xml:"sourceDestCheck"`
	Groups          *list[groupXML]     `xml:"groupSet"`
	Architecture    string              `xml:"architecture"`
	Tags            *list[tagXML]       `xml:"tagSet"`
	Interfaces      *list[interfaceXML] `xml:"networkInterfaceSet"`
	Metadata        metadataXML         `xml:"metadataOptions"`
}

type metadataXML struct {
	State    string `xml:"state"`
	Tokens   string `xml:"httpTokens"`
	HopLimit int    `xml:"httpPutResponseHopLimit"`
	Endpoint string `xml:"httpEndpoint"`
	Tags     string `xml:"instanceMetadataTags"`
}

// seenInstance is an instance with its ENIs as Describe sees them.
type seenInstance struct {
	vpc.Instance
	enis []vpc.ENI // by card and device index
}

func (i seenInstance) primary() vpc.ENI {
	if len(i.enis) == 0 {
		return vpc.ENI{}
	}
	return i.enis[0]
}

func (s *Server) seen(stale time.Duration) []seenInstance {
	enis := s.model.Described(stale)
	var out []seenInstance
	for _, i := range s.model.Instances() {
		one := seenInstance{Instance: i}
		for _, e := range enis {
			if e.Attachment != nil && e.Attachment.InstanceID == i.ID {
				one.enis = append(one.enis, e)
			}
		}
		slices.SortFunc(one.enis, func(a, b vpc.ENI) int {
			return (a.Attachment.NetworkCard-b.Attachment.NetworkCard)*100 + a.Attachment.DeviceIndex - b.Attachment.DeviceIndex
		})
		out = append(out, one)
	}
	return out
}

func (s *Server) describeInstances(c *call) (reply, error) {
	ids, filters := c.texts("InstanceId"), c.filters()
	p := c.page(5, 1000)
	c.exclusive(p, ids, "instanceIds")
	c.flag("IncludeManagedResources")
	for _, id := range ids {
		if !strings.HasPrefix(id, "i-") {
			c.fail(awserr.New("InvalidInstanceID.Malformed", "Invalid id: \"%s\"", id))
		}
	}
	if err := c.dry(); err != nil {
		return nil, err
	}
	all := s.seen(time.Duration(c.effect.Stale))
	all, err := only(all, ids, func(i seenInstance) string { return i.ID }, "InvalidInstanceID.NotFound", "instance ID")
	if err != nil {
		return nil, err
	}
	chosen, err := choose(all, filters, s.instanceFields(), func(i seenInstance) map[string]string { return i.Tags })
	if err != nil {
		return nil, err
	}
	items, next := cut(chosen, p, s.topo.PageLimit, func(i seenInstance) string { return i.ID })
	return &describeInstancesReply{Reservations: listOf(items, s.reservationShape), NextToken: next}, nil
}

func (s *Server) reservationShape(i seenInstance) reservationXML {
	return reservationXML{i.ReservationID, s.topo.Account, &list[groupXML]{}, &list[instanceXML]{[]instanceXML{s.instanceShape(i)}}}
}

func (s *Server) instanceShape(i seenInstance) instanceXML {
	out := instanceXML{
		ID: i.ID, ImageID: i.ImageID, Code: 16, State: string(i.State), Type: i.Type, LaunchTime: timestamp(i.LaunchTime),
		Zone: i.Zone, Tenancy: "default", Architecture: "x86_64", Tags: tagShapes(i.Tags), Groups: &list[groupXML]{},
		Interfaces: &list[interfaceXML]{}, Metadata: metadataShape(i.Instance),
	}
	if i.State == vpc.Terminated {
		out.Code = 48
	}
	if len(i.enis) == 0 {
		return out
	}
	primary := i.primary()
	out.SubnetID, out.VPCID, out.SourceDestCheck = i.SubnetID, s.model.VPC().ID, primary.SourceDestCheck
	out.PrivateIP, out.PrivateDNSName = primary.Primary.String(), s.privateDNS(primary.Primary)
	out.Groups = s.groupShapes(primary.Groups)
	if public, ok := primary.Public[primary.Primary]; ok {
		out.PublicIP, out.DNSName = public.String(), s.publicDNS(public)
	}
	out.Interfaces = listOf(i.enis, func(e vpc.ENI) interfaceXML {
		x := s.interfaceShape(e)
		x.Attachment.InstanceID, x.Attachment.InstanceOwnerID = "", ""
		x.Tags, x.Zone, x.RequesterID = nil, "", ""
		return x
	})
	return out
}

func metadataShape(i vpc.Instance) metadataXML {
	out := metadataXML{State: "applied", Tokens: "required", HopLimit: i.Metadata.HopLimit, Endpoint: "enabled", Tags: "disabled"}
	if i.Metadata.TokensOption {
		out.Tokens = "optional"
	}
	if i.Metadata.Disabled {
		out.Endpoint = "disabled"
	}
	if i.Metadata.InstanceTags {
		out.Tags = "enabled"
	}
	return out
}

func (s *Server) instanceFields() fields[seenInstance] {
	vpcID := s.model.VPC().ID
	primary := func(get func(vpc.ENI) string) func(seenInstance) []string {
		return func(i seenInstance) []string {
			if len(i.enis) == 0 {
				return nil
			}
			return []string{get(i.primary())}
		}
	}
	return fields[seenInstance]{
		"instance-id":         one(func(i seenInstance) string { return i.ID }),
		"instance-type":       one(func(i seenInstance) string { return i.Type }),
		"instance-state-name": one(func(i seenInstance) string { return string(i.State) }),
		"availability-zone":   one(func(i seenInstance) string { return i.Zone }),
		"subnet-id":           one(func(i seenInstance) string { return i.SubnetID }),
		"vpc-id":              one(func(seenInstance) string { return vpcID }),
		"image-id":            one(func(i seenInstance) string { return i.ImageID }),
		"reservation-id":      one(func(i seenInstance) string { return i.ReservationID }),
		"owner-id":            one(func(seenInstance) string { return s.topo.Account }),
		"private-ip-address":  primary(func(e vpc.ENI) string { return e.Primary.String() }),
		"private-dns-name":    primary(func(e vpc.ENI) string { return s.privateDNS(e.Primary) }),
		"ip-address":          func(i seenInstance) []string { return publics(i.primary()) },
		"instance.group-id":   func(i seenInstance) []string { return i.primary().Groups },
		"network-interface.network-interface-id": func(i seenInstance) []string {
			var ids []string
			for _, e := range i.enis {
				ids = append(ids, e.ID)
			}
			return ids
		},
	}
}

// only keeps the items with these ids, or all without ids; ids of no item are
// an error.
func only[T any](items []T, ids []string, id func(T) string, code, noun string) ([]T, error) {
	if len(ids) == 0 {
		return items, nil
	}
	var missing []string
	for _, want := range ids {
		if !slices.ContainsFunc(items, func(v T) bool { return id(v) == want }) {
			missing = append(missing, want)
		}
	}
	switch {
	case len(missing) == 1:
		return nil, awserr.New(code, "The %s '%s' does not exist", noun, missing[0])
	case len(missing) > 1:
		return nil, awserr.New(code, "The %ss '%s' do not exist", noun, strings.Join(missing, ", "))
	}
	return slices.DeleteFunc(slices.Clone(items), func(v T) bool { return !slices.Contains(ids, id(v)) }), nil
}
