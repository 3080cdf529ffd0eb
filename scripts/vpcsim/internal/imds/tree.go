package imds

import (
	"encoding/json"
	"fmt"
	"maps"
	"net/netip"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/causeway-cni/causeway/scripts/vpcsim/internal/vpc"
)

// roleName is the IAM role of every node.
const roleName = "vpcsim-node"

// credentialLife is how long role credentials are said to be valid.
const credentialLife = 6 * time.Hour

// tree is all that one instance's service serves: leaf paths without their
// leading slash, and their text. Directories follow from the leaves. A leaf
// without text is not there.
type tree map[string]string

// build makes the tree of one moment.
func build(m vpc.Metadata, now time.Time) tree {
	t := tree{}
	t.instance(m)
	t.role(m, now)
	for _, e := range m.Interfaces {
		t.eni("latest/meta-data/network/interfaces/macs/"+e.MAC+"/", m, e)
	}
	maps.DeleteFunc(t, func(_, text string) bool { return text == "" })
	return t
}

// primary is the ENI at device 0 of card 0.
func primary(m vpc.Metadata) vpc.ENI {
	for _, e := range m.Interfaces {
		if a := e.Attachment; a != nil && a.DeviceIndex == 0 && a.NetworkCard == 0 {
			return e
		}
	}
	return vpc.ENI{}
}

func (t tree) instance(m vpc.Metadata) {
	const root = "latest/meta-data/"
	i, p := m.Instance, primary(m)
	hostname := fmt.Sprintf("ip-%s.%s.compute.internal", strings.ReplaceAll(p.Primary.String(), ".", "-"), m.Region)
	t[root+"ami-id"] = i.ImageID
	t[root+"ami-launch-index"] = "0"
	t[root+"hostname"] = hostname
	t[root+"local-hostname"] = hostname
	t[root+"instance-action"] = "none"
	t[root+"instance-id"] = i.ID
	t[root+"instance-life-cycle"] = "on-demand"
	t[root+"instance-type"] = i.Type
	t[root+"local-ipv4"] = p.Primary.String()
	t[root+"ipv6"] = first(p.IPv6)
	t[root+"mac"] = p.MAC
	t[root+"placement/availability-zone"] = i.Zone
	t[root+"placement/availability-zone-id"] = vpc.ZoneID(i.Zone)
	t[root+"placement/region"] = m.Region
	t[root+"profile"] = "default-hvm"
	t[root+"reservation-id"] = i.ReservationID
	t[root+"security-groups"] = groupNames(m, p)
	t[root+"services/domain"] = "amazonaws.com"
	t[root+"services/partition"] = "aws"
	if public, ok := p.Public[p.Primary]; ok {
		t[root+"public-ipv4"] = public.String()
		t[root+"public-hostname"] = publicName(m, public)
	}
	if i.Metadata.InstanceTags {
		for k, v := range i.Tags {
			if !strings.ContainsAny(k, "/ ") { // such keys cannot be had from IMDS
				t[root+"tags/instance/"+k] = v
			}
		}
	}
	t["latest/dynamic/instance-identity/document"] = document(m, p)
}

// eni lists one interface. Absent on the real service, and so here, is what
// the interface has not got: prefixes, IPv6, public addresses.
func (t tree) eni(dir string, m vpc.Metadata, e vpc.ENI) {
	sub := m.Subnets[e.SubnetID]
	t[dir+"device-number"] = strconv.Itoa(e.Attachment.DeviceIndex)
	t[dir+"interface-id"] = e.ID
	t[dir+"mac"] = e.MAC
	t[dir+"owner-id"] = m.Account
	t[dir+"subnet-id"] = e.SubnetID
	t[dir+"vpc-id"] = m.VPCID
	if e.Attachment.NetworkCard > 0 {
		t[dir+"network-card"] = strconv.Itoa(e.Attachment.NetworkCard)
	}
	t[dir+"local-hostname"] = fmt.Sprintf("ip-%s.%s.compute.internal", strings.ReplaceAll(e.Primary.String(), ".", "-"), m.Region)
	t[dir+"security-group-ids"] = strings.Join(e.Groups, "\n")
	t[dir+"security-groups"] = groupNames(m, e)
	t[dir+"subnet-ipv4-cidr-block"] = sub.CIDR.String()
	if sub.IPv6CIDR.IsValid() {
		t[dir+"subnet-ipv6-cidr-blocks"] = sub.IPv6CIDR.String()
	}
	four, six := families(m.CIDRs)
	t[dir+"vpc-ipv4-cidr-block"] = first(four)
	t[dir+"vpc-ipv4-cidr-blocks"] = lines(four)
	t[dir+"vpc-ipv6-cidr-blocks"] = lines(six)
	if e.InterfaceType != "efa-only" {
		t[dir+"local-ipv4s"] = lines(append([]netip.Addr{e.Primary}, e.Secondary...))
	}
	t[dir+"ipv6s"] = lines(e.IPv6)
	t[dir+"ipv4-prefix"] = lines(e.Prefixes)
	t[dir+"ipv6-prefix"] = lines(e.IPv6Prefixes)
	var public []netip.Addr
	for _, private := range slices.SortedFunc(maps.Keys(e.Public), netip.Addr.Compare) {
		public = append(public, e.Public[private])
		t[dir+"ipv4-associations/"+e.Public[private].String()] = private.String()
	}
	if len(public) > 0 {
		t[dir+"public-ipv4s"] = lines(public)
		t[dir+"public-hostname"] = publicName(m, public[0])
	}
}

func (t tree) role(m vpc.Metadata, now time.Time) {
	stamp := now.UTC().Format(time.RFC3339)
	c := m.Instance.Credentials
	t["latest/meta-data/iam/info"] = pretty(ordered{
		{"Code", "Success"}, {"LastUpdated", stamp},
		{"InstanceProfileArn", fmt.Sprintf("arn:aws:iam::%s:instance-profile/%s", m.Account, roleName)},
		{"InstanceProfileId", "AIPA" + strings.ToUpper(m.Instance.ID[len(m.Instance.ID)-16:])},
	})
	t["latest/meta-data/iam/security-credentials/"+roleName] = pretty(ordered{
		{"Code", "Success"}, {"LastUpdated", stamp}, {"Type", "AWS-HMAC"},
		{"AccessKeyId", c.AccessKeyID}, {"SecretAccessKey", c.SecretAccessKey}, {"Token", c.Token},
		{"Expiration", now.Add(credentialLife).UTC().Format(time.RFC3339)},
	})
}

// document is the instance identity document.
func document(m vpc.Metadata, p vpc.ENI) string {
	i := m.Instance
	return pretty(ordered{
		{"accountId", m.Account}, {"architecture", "x86_64"}, {"availabilityZone", i.Zone}, {"billingProducts", nil},
		{"devpayProductCodes", nil}, {"marketplaceProductCodes", nil}, {"imageId", i.ImageID}, {"instanceId", i.ID},
		{"instanceType", i.Type}, {"kernelId", nil}, {"pendingTime", i.LaunchTime.UTC().Format(time.RFC3339)},
		{"privateIp", p.Primary.String()}, {"ramdiskId", nil}, {"region", m.Region}, {"version", "2017-09-30"},
	})
}

// ordered is a JSON object whose fields keep their order.
type ordered []struct {
	key   string
	value any
}

func pretty(fields ordered) string {
	var b strings.Builder
	b.WriteString("{\n")
	for i, f := range fields {
		value, err := json.Marshal(f.value)
		if err != nil {
			continue // text and nil always encode
		}
		fmt.Fprintf(&b, "  %q : %s", f.key, value)
		if i < len(fields)-1 {
			b.WriteByte(',')
		}
		b.WriteByte('\n')
	}
	return b.String() + "}"
}

// look returns the text of a leaf or the listing of a directory. A slash at
// the end is taken or left.
func (t tree) look(path string) (string, bool) {
	path = strings.Trim(path, "/")
	if text, ok := t[path]; ok {
		return text, true
	}
	dir := path + "/"
	if path == "" {
		dir = ""
	}
	names := map[string]bool{}
	for leaf := range t {
		rest, ok := strings.CutPrefix(leaf, dir)
		if !ok {
			continue
		}
		name, _, below := strings.Cut(rest, "/")
		if below && dir != "" && dir != "latest/" {
			name += "/"
		}
		names[name] = true
	}
	if len(names) == 0 {
		return "", false
	}
	return strings.Join(slices.Sorted(maps.Keys(names)), "\n"), true
}

func publicName(m vpc.Metadata, a netip.Addr) string {
	return fmt.Sprintf("ec2-%s.%s.compute.amazonaws.com", strings.ReplaceAll(a.String(), ".", "-"), m.Region)
}

func groupNames(m vpc.Metadata, e vpc.ENI) string {
	var names []string
	for _, id := range e.Groups {
		names = append(names, m.GroupNames[id])
	}
	return strings.Join(names, "\n")
}

func families(blocks []netip.Prefix) (four, six []netip.Prefix) {
	for _, b := range blocks {
		if b.Addr().Is4() {
			four = append(four, b)
		} else {
			six = append(six, b)
		}
	}
	return four, six
}

func lines[T fmt.Stringer](values []T) string {
	var out []string
	for _, v := range values {
		out = append(out, v.String())
	}
	return strings.Join(out, "\n")
}

func first[T fmt.Stringer](values []T) string {
	if len(values) == 0 {
		return ""
	}
	return values[0].String()
}
