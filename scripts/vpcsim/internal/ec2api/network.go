package ec2api

import (
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/causeway-cni/causeway/scripts/vpcsim/internal/vpc"
)

type describeSubnetsReply struct {
	head
	Subnets   *list[subnetXML] `xml:"subnetSet"`
	NextToken string           `xml:"nextToken,omitempty"`
}

type subnetXML struct {
	ID                 string              `xml:"subnetId"`
	ARN                string              `xml:"subnetArn"`
	State              string              `xml:"state"`
	OwnerID            string              `xml:"ownerId"`
	VPCID              string              `xml:"vpcId"`
	CIDR               string              `xml:"cidrBlock"`
	IPv6               *list[ipv6BlockXML] `xml:"ipv6CidrBlockAssociationSet"`
	AssignIPv6         bool                `xml:"assignIpv6AddressOnCreation"`
	Free               int                 `xml:"availableIpAddressCount"`
	Zone               string              `xml:"availabilityZone"`
	ZoneID             string              `xml:"availabilityZoneId"`
	DefaultForAZ       bool                `xml:"defaultForAz"`
	MapPublicIPOnStart bool                `xml:"mapPublicIpOnLaunch"`
	Tags               *list[tagXML]       `xml:"tagSet"`
}

type ipv6BlockXML struct {
	CIDR  string `xml:"ipv6CidrBlock"`
	ID    string `xml:"associationId"`
	State string `xml:"ipv6CidrBlockState>state"`
}

func (s *Server) describeSubnets(c *call) (reply, error) {
	ids, filters := c.texts("SubnetId"), c.filters()
	p := c.page(5, 1000)
	c.exclusive(p, ids, "subnetIds")
	if err := c.dry(); err != nil {
		return nil, err
	}
	all := s.model.Subnets()
	slices.SortFunc(all, func(a, b vpc.Subnet) int { return strings.Compare(a.ID, b.ID) })
	all, err := only(all, ids, func(n vpc.Subnet) string { return n.ID }, "InvalidSubnetID.NotFound", "subnet ID")
	if err != nil {
		return nil, err
	}
	chosen, err := choose(all, filters, s.subnetFields(), func(n vpc.Subnet) map[string]string { return n.Tags })
	if err != nil {
		return nil, err
	}
	items, next := cut(chosen, p, s.topo.PageLimit, func(n vpc.Subnet) string { return n.ID })
	return &describeSubnetsReply{Subnets: listOf(items, s.subnetShape), NextToken: next}, nil
}

func (s *Server) subnetShape(n vpc.Subnet) subnetXML {
	out := subnetXML{
		ID: n.ID, ARN: fmt.Sprintf("arn:aws:ec2:%s:%s:subnet/%s", s.topo.Region, s.topo.Account, n.ID), State: "available",
		OwnerID: s.topo.Account, VPCID: s.model.VPC().ID, CIDR: n.CIDR.String(), Free: n.Free, Zone: n.Zone,
		ZoneID: vpc.ZoneID(n.Zone), MapPublicIPOnStart: n.Egress == vpc.EgressIGW, Tags: tagShapes(n.Tags), IPv6: &list[ipv6BlockXML]{},
	}
	if n.IPv6CIDR.IsValid() {
		out.AssignIPv6 = true
		out.IPv6.Items = []ipv6BlockXML{{n.IPv6CIDR.String(), "subnet-cidr-assoc-" + strings.TrimPrefix(n.ID, "subnet-"), "associated"}}
	}
	return out
}

func (s *Server) subnetFields() fields[vpc.Subnet] {
	vpcID := s.model.VPC().ID
	return fields[vpc.Subnet]{
		"subnet-id":                  one(func(n vpc.Subnet) string { return n.ID }),
		"vpc-id":                     one(func(vpc.Subnet) string { return vpcID }),
		"availability-zone":          one(func(n vpc.Subnet) string { return n.Zone }),
		"availability-zone-id":       one(func(n vpc.Subnet) string { return vpc.ZoneID(n.Zone) }),
		"available-ip-address-count": one(func(n vpc.Subnet) string { return strconv.Itoa(n.Free) }),
		"cidr-block":                 one(func(n vpc.Subnet) string { return n.CIDR.String() }),
		"cidr":                       one(func(n vpc.Subnet) string { return n.CIDR.String() }),
		"owner-id":                   one(func(vpc.Subnet) string { return s.topo.Account }),
		"state":                      one(func(vpc.Subnet) string { return "available" }),
		"default-for-az":             one(func(vpc.Subnet) string { return "false" }),
		"ipv6-cidr-block-association.ipv6-cidr-block": func(n vpc.Subnet) []string {
			if !n.IPv6CIDR.IsValid() {
				return nil
			}
			return []string{n.IPv6CIDR.String()}
		},
	}
}

type describeGroupsReply struct {
	head
	Groups    *list[securityGroupXML] `xml:"securityGroupInfo"`
	NextToken string                  `xml:"nextToken,omitempty"`
}

type securityGroupXML struct {
	OwnerID     string               `xml:"ownerId"`
	ID          string               `xml:"groupId"`
	Name        string               `xml:"groupName"`
	Description string               `xml:"groupDescription"`
	VPCID       string               `xml:"vpcId"`
	Ingress     *list[permissionXML] `xml:"ipPermissions"`
	Egress      *list[permissionXML] `xml:"ipPermissionsEgress"`
	Tags        *list[tagXML]        `xml:"tagSet"`
}

type permissionXML struct {
	Protocol string            `xml:"ipProtocol"`
	Ranges   *list[ipRangeXML] `xml:"ipRanges"`
}

type ipRangeXML struct {
	CIDR string `xml:"cidrIp"`
}

func (s *Server) describeSecurityGroups(c *call) (reply, error) {
	ids, names, filters := c.texts("GroupId"), c.texts("GroupName"), c.filters()
	p := c.page(5, 1000)
	c.exclusive(p, ids, "groupIds")
	if err := c.dry(); err != nil {
		return nil, err
	}
	all := s.model.Groups()
	slices.SortFunc(all, func(a, b vpc.Group) int { return strings.Compare(a.ID, b.ID) })
	all, err := only(all, ids, func(g vpc.Group) string { return g.ID }, "InvalidGroup.NotFound", "security group")
	if err != nil {
		return nil, err
	}
	all, err = only(all, names, func(g vpc.Group) string { return g.Name }, "InvalidGroup.NotFound", "security group")
	if err != nil {
		return nil, err
	}
	vpcID := s.model.VPC().ID
	chosen, err := choose(all, filters, fields[vpc.Group]{
		"group-id":    one(func(g vpc.Group) string { return g.ID }),
		"group-name":  one(func(g vpc.Group) string { return g.Name }),
		"description": one(func(g vpc.Group) string { return g.Description }),
		"vpc-id":      one(func(vpc.Group) string { return vpcID }),
		"owner-id":    one(func(vpc.Group) string { return s.topo.Account }),
	}, func(g vpc.Group) map[string]string { return g.Tags })
	if err != nil {
		return nil, err
	}
	items, next := cut(chosen, p, s.topo.PageLimit, func(g vpc.Group) string { return g.ID })
	return &describeGroupsReply{Groups: listOf(items, s.groupShape), NextToken: next}, nil
}

// groupShape writes a group; the simulator filters no traffic, so every group
// allows all.
func (s *Server) groupShape(g vpc.Group) securityGroupXML {
	all := &list[permissionXML]{[]permissionXML{{"-1", &list[ipRangeXML]{[]ipRangeXML{{"0.0.0.0/0"}}}}}}
	return securityGroupXML{s.topo.Account, g.ID, g.Name, g.Description, s.model.VPC().ID, all, all, tagShapes(g.Tags)}
}

type describeVPCsReply struct {
	head
	VPCs      *list[vpcXML] `xml:"vpcSet"`
	NextToken string        `xml:"nextToken,omitempty"`
}

type vpcXML struct {
	ID          string              `xml:"vpcId"`
	OwnerID     string              `xml:"ownerId"`
	State       string              `xml:"state"`
	CIDR        string              `xml:"cidrBlock"`
	Blocks      *list[blockXML]     `xml:"cidrBlockAssociationSet"`
	IPv6        *list[ipv6BlockXML] `xml:"ipv6CidrBlockAssociationSet"`
	DHCPOptions string              `xml:"dhcpOptionsId"`
	Tenancy     string              `xml:"instanceTenancy"`
	IsDefault   bool                `xml:"isDefault"`
	Tags        *list[tagXML]       `xml:"tagSet"`
}

type blockXML struct {
	CIDR  string `xml:"cidrBlock"`
	ID    string `xml:"associationId"`
	State string `xml:"cidrBlockState>state"`
}

func (s *Server) describeVPCs(c *call) (reply, error) {
	ids, filters := c.texts("VpcId"), c.filters()
	p := c.page(5, 1000)
	c.exclusive(p, ids, "vpcIds")
	if err := c.dry(); err != nil {
		return nil, err
	}
	all, err := only([]vpc.VPC{s.model.VPC()}, ids, func(v vpc.VPC) string { return v.ID }, "InvalidVpcID.NotFound", "vpc ID")
	if err != nil {
		return nil, err
	}
	chosen, err := choose(all, filters, fields[vpc.VPC]{
		"vpc-id":                            one(func(v vpc.VPC) string { return v.ID }),
		"cidr":                              one(func(v vpc.VPC) string { return v.CIDRs[0].String() }),
		"cidr-block-association.cidr-block": func(v vpc.VPC) []string { return texts(v.CIDRs) },
		"owner-id":                          one(func(vpc.VPC) string { return s.topo.Account }),
		"state":                             one(func(vpc.VPC) string { return "available" }),
		"is-default":                        one(func(vpc.VPC) string { return "false" }),
	}, func(v vpc.VPC) map[string]string { return v.Tags })
	if err != nil {
		return nil, err
	}
	items, next := cut(chosen, p, s.topo.PageLimit, func(v vpc.VPC) string { return v.ID })
	return &describeVPCsReply{VPCs: listOf(items, s.vpcShape), NextToken: next}, nil
}

func (s *Server) vpcShape(v vpc.VPC) vpcXML {
	out := vpcXML{
		ID: v.ID, OwnerID: s.topo.Account, State: "available", CIDR: v.CIDRs[0].String(), Blocks: &list[blockXML]{}, IPv6: &list[ipv6BlockXML]{},
		DHCPOptions: "dopt-" + strings.TrimPrefix(v.ID, "vpc-"), Tenancy: "default", Tags: tagShapes(v.Tags),
	}
	for i, c := range v.CIDRs {
		id := fmt.Sprintf("vpc-cidr-assoc-%017x", i+1)
		if c.Addr().Is4() {
			out.Blocks.Items = append(out.Blocks.Items, blockXML{c.String(), id, "associated"})
		} else {
			out.IPv6.Items = append(out.IPv6.Items, ipv6BlockXML{c.String(), id, "associated"})
		}
	}
	return out
}
