package ec2api_test

import (
	"fmt"
	"io"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/ec2"
	"github.com/aws/aws-sdk-go-v2/service/ec2/types"
	"github.com/google/go-cmp/cmp"
)

func TestPages(t *testing.T) {
	w := start(t, "{profile: none, nodes: [{name: n1, subnet: a}]}")
	var want []string
	for range 12 {
		want = append(want, *w.create(func(in *ec2.CreateNetworkInterfaceInput) { in.Description = aws.String("mine") }).NetworkInterfaceId)
	}
	slices.Sort(want)
	filters := []types.Filter{{Name: aws.String("description"), Values: []string{"m?n*"}}}
	pages := ec2.NewDescribeNetworkInterfacesPaginator(w.ec2, &ec2.DescribeNetworkInterfacesInput{MaxResults: aws.Int32(5), Filters: filters})
	var got []string
	var sizes []int
	for pages.HasMorePages() {
		page := must(pages.NextPage(w.ctx))(w)
		sizes = append(sizes, len(page.NetworkInterfaces))
		for _, e := range page.NetworkInterfaces {
			got = append(got, *e.NetworkInterfaceId)
		}
	}
	if diff := cmp.Diff([]int{5, 5, 2}, sizes); diff != "" {
		t.Errorf("page sizes (-want +got)\n%s", diff)
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("(-want +got)\n%s", diff)
	}
	first := must(w.ec2.DescribeNetworkInterfaces(w.ctx, &ec2.DescribeNetworkInterfacesInput{MaxResults: aws.Int32(5), Filters: filters}))(w)
	_, err := w.ec2.DescribeNetworkInterfaces(w.ctx, &ec2.DescribeNetworkInterfacesInput{NextToken: first.NextToken})
	w.refused(err, "InvalidNextToken", 400, "The specified NextToken is not valid")
}

// TestPageLimit holds that the topology can force small pages on clients that
// ask for none.
func TestPageLimit(t *testing.T) {
	w := start(t, "{profile: none, pageLimit: 1}")
	first := must(w.ec2.DescribeSubnets(w.ctx, &ec2.DescribeSubnetsInput{}))(w)
	if len(first.Subnets) != 1 || first.NextToken == nil {
		t.Fatalf("%d subnets, token %v", len(first.Subnets), first.NextToken)
	}
	second := must(w.ec2.DescribeSubnets(w.ctx, &ec2.DescribeSubnetsInput{NextToken: first.NextToken}))(w)
	if len(second.Subnets) != 1 || second.NextToken != nil || *second.Subnets[0].SubnetId == *first.Subnets[0].SubnetId {
		t.Errorf("second page %+v", second)
	}
	types := must(w.ec2.DescribeInstanceTypes(w.ctx, &ec2.DescribeInstanceTypesInput{MaxResults: aws.Int32(100)}))(w)
	if len(types.InstanceTypes) != 1 {
		t.Errorf("%d types", len(types.InstanceTypes))
	}
}

// TestInterfaceFilters asks for one attached ENI by everything that it has,
// and for another by everything that it has not.
func TestInterfaceFilters(t *testing.T) {
	w := start(t, "profile: none")
	eni := w.create(func(in *ec2.CreateNetworkInterfaceInput) {
		in.Ipv4PrefixCount, in.Description = aws.Int32(1), aws.String("aws-K8S-i-1")
		in.TagSpecifications = []types.TagSpecification{{ResourceType: types.ResourceTypeNetworkInterface, Tags: tags("cluster", "one", "node.k8s.amazonaws.com/instance_id", "i-1")}}
	})
	w.create()
	w.attach(eni, 1)
	e := w.see(eni.NetworkInterfaceId)
	keys := must(w.sim.Credentials("n1"))(w)
	only := map[string]string{ // filters that this ENI alone passes
		"network-interface-id": *e.NetworkInterfaceId, "description": "aws-K8S-*", "mac-address": *e.MacAddress,
		"private-ip-address": *e.PrivateIpAddress, "addresses.private-ip-address": *e.PrivateIpAddress, "private-dns-name": *e.PrivateDnsName,
		"attachment.attachment-id": *e.Attachment.AttachmentId, "attachment.device-index": "1", "tag:cluster": "one",
		"tag-key": "node.k8s.amazonaws.com/*", "ipv4-prefix": *e.Ipv4Prefixes[0].Ipv4Prefix, "attachment.delete-on-termination": "false",
	}
	also := map[string]string{ // filters that it passes with others
		"vpc-id": *e.VpcId, "subnet-id": *e.SubnetId, "status": "in-use", "attachment.instance-id": w.sim.Instance("n1"),
		"attachment.status": "attached", "group-id": *e.Groups[0].GroupId, "interface-type": "interface", "availability-zone": "us-west-2a",
		"requester-id": keys.AccessKeyID, "owner-id": "123456789012", "source-dest-check": "true", "requester-managed": "false",
		"addresses.primary": "true", "attachment.network-card-index": "0", "attachment.instance-owner-id": "123456789012",
	}
	ask := func(filters map[string]string) []string {
		var in ec2.DescribeNetworkInterfacesInput
		for name, value := range filters {
			in.Filters = append(in.Filters, types.Filter{Name: aws.String(name), Values: []string{"no such value", value}})
		}
		var ids []string
		for _, got := range must(w.ec2.DescribeNetworkInterfaces(w.ctx, &in))(w).NetworkInterfaces {
			ids = append(ids, *got.NetworkInterfaceId)
		}
		return ids
	}
	for name, value := range only {
		if diff := cmp.Diff([]string{*e.NetworkInterfaceId}, ask(map[string]string{name: value})); diff != "" {
			t.Errorf("%s=%s (-want +got)\n%s", name, value, diff)
		}
		if got := ask(map[string]string{name: "nothing"}); got != nil {
			t.Errorf("%s=nothing gives %v", name, got)
		}
	}
	for name, value := range also {
		if !slices.Contains(ask(map[string]string{name: value}), *e.NetworkInterfaceId) {
			t.Errorf("%s=%s does not give the ENI", name, value)
		}
	}
	if diff := cmp.Diff([]string{*e.NetworkInterfaceId}, ask(map[string]string{"status": "in-use", "tag:cluster": "one"})); diff != "" {
		t.Errorf("two filters (-want +got)\n%s", diff)
	}
	public := must(w.ec2.DescribeNetworkInterfaces(w.ctx, &ec2.DescribeNetworkInterfacesInput{Filters: []types.Filter{
		{Name: aws.String("association.public-ip"), Values: []string{"198.51.100.*"}},
	}}))(w)
	if len(public.NetworkInterfaces) != 2 {
		t.Errorf("%d ENIs with a public address, want the primary ones of both nodes", len(public.NetworkInterfaces))
	}
}

// TestOtherFilters passes each filter of the other Describe actions once.
func TestOtherFilters(t *testing.T) {
	w := start(t, `{profile: none, vpc: {ipv6CIDRs: ["2001:db8::/56"]}, subnets: [{name: a, cidr: 10.0.0.0/24, ipv6CIDR: "2001:db8::/64", tags: {x: v}}, {name: b, cidr: 10.0.1.0/24}]}`)
	primary := w.primary()
	filter := func(name, value string) []types.Filter {
		return []types.Filter{{Name: aws.String(name), Values: []string{value}}}
	}
	for name, value := range map[string]string{
		"instance-id": w.sim.Instance("n1"), "private-ip-address": *primary.PrivateIpAddress, "private-dns-name": *primary.PrivateDnsName,
		"ip-address": *primary.Association.PublicIp, "availability-zone": "us-west-2a", "subnet-id": w.subnet("a"),
		"network-interface.network-interface-id": *primary.NetworkInterfaceId,
	} {
		out := must(w.ec2.DescribeInstances(w.ctx, &ec2.DescribeInstancesInput{Filters: filter(name, value)}))(w)
		if len(out.Reservations) != 1 {
			t.Errorf("instances by %s=%s: %d", name, value, len(out.Reservations))
		}
	}
	for name, value := range map[string]string{
		"instance-type": "m5.*", "instance-state-name": "running", "vpc-id": *primary.VpcId, "image-id": "ami-*", "reservation-id": "r-*",
		"owner-id": "1*", "instance.group-id": *primary.Groups[0].GroupId,
	} {
		out := must(w.ec2.DescribeInstances(w.ctx, &ec2.DescribeInstancesInput{Filters: filter(name, value)}))(w)
		if len(out.Reservations) != 2 {
			t.Errorf("instances by %s=%s: %d", name, value, len(out.Reservations))
		}
	}
	for name, value := range map[string]string{
		"subnet-id": w.subnet("a"), "availability-zone": "us-west-2a", "availability-zone-id": "usw2-az1", "cidr-block": "10.0.0.*",
		"cidr": "10.0.0.0/24", "tag:x": "v", "tag-key": "x", "ipv6-cidr-block-association.ipv6-cidr-block": "2001:db8::/64",
	} {
		out := must(w.ec2.DescribeSubnets(w.ctx, &ec2.DescribeSubnetsInput{Filters: filter(name, value)}))(w)
		if len(out.Subnets) != 1 {
			t.Errorf("subnets by %s=%s: %d", name, value, len(out.Subnets))
		}
	}
	for name, value := range map[string]string{"state": "available", "default-for-az": "false", "owner-id": "1*", "available-ip-address-count": "250"} {
		out := must(w.ec2.DescribeSubnets(w.ctx, &ec2.DescribeSubnetsInput{Filters: filter(name, value)}))(w)
		if len(out.Subnets) != 2 {
			t.Errorf("subnets by %s=%s: %d", name, value, len(out.Subnets))
		}
	}
	for name, value := range map[string]string{"group-name": "default", "group-id": "sg-*", "description": "default VPC*", "vpc-id": *primary.VpcId, "owner-id": "1*"} {
		out := must(w.ec2.DescribeSecurityGroups(w.ctx, &ec2.DescribeSecurityGroupsInput{Filters: filter(name, value)}))(w)
		if len(out.SecurityGroups) != 1 {
			t.Errorf("groups by %s=%s: %d", name, value, len(out.SecurityGroups))
		}
	}
	for name, value := range map[string]string{"vpc-id": *primary.VpcId, "cidr": "10.0.0.0/16", "cidr-block-association.cidr-block": "2001:*", "state": "available", "is-default": "false", "owner-id": "1*"} {
		out := must(w.ec2.DescribeVpcs(w.ctx, &ec2.DescribeVpcsInput{Filters: filter(name, value)}))(w)
		if len(out.Vpcs) != 1 {
			t.Errorf("VPCs by %s=%s: %d", name, value, len(out.Vpcs))
		}
	}
	for name, value := range map[string]string{"instance-type": "m5.large", "hypervisor": "nitro", "bare-metal": "false", "network-info.ipv4-addresses-per-interface": "10", "network-info.maximum-network-interfaces": "3"} {
		out := must(w.ec2.DescribeInstanceTypes(w.ctx, &ec2.DescribeInstanceTypesInput{Filters: filter(name, value)}))(w)
		if len(out.InstanceTypes) == 0 {
			t.Errorf("no types by %s=%s", name, value)
		}
	}
	for name, value := range map[string]string{"resource-id": w.subnet("a"), "resource-type": "subnet", "key": "x", "value": "v", "tag:x": "v"} {
		out := must(w.ec2.DescribeTags(w.ctx, &ec2.DescribeTagsInput{Filters: filter(name, value)}))(w)
		if len(out.Tags) != 1 {
			t.Errorf("tags by %s=%s: %d", name, value, len(out.Tags))
		}
	}
}

// raw sends parameters as given, without the SDK.
func (w *world) raw(method, query string) (int, string) {
	w.Helper()
	target, body := "http://ec2.sim/", query
	if method == http.MethodGet {
		target, body = target+"?"+query, ""
	}
	req := must(http.NewRequestWithContext(w.ctx, method, target, strings.NewReader(body)))(w)
	resp := must(w.sim.Transport("n1").RoundTrip(req))(w)
	defer resp.Body.Close() //nolint:errcheck // read to its end
	return resp.StatusCode, string(must(io.ReadAll(resp.Body))(w))
}

func TestWire(t *testing.T) {
	w := start(t, "profile: none")
	tests := []struct {
		method, query string
		status        int
		want          string
	}{
		{"GET", "Action=DescribeVpcs&Version=2016-11-15", 200, `<DescribeVpcsResponse xmlns="http://ec2.amazonaws.com/doc/2016-11-15/"><requestId>`},
		{"GET", "Action=DescribeVpcs&X-Amz-Signature=abc", 200, "<vpcSet><item>"},
		{"POST", "Action=DescribeVpcs&Colour=red", 400, "<Response><Errors><Error><Code>UnknownParameter</Code><Message>The parameter Colour is not recognized</Message></Error></Errors><RequestID>"},
		{"POST", "Action=RunInstances", 400, "<Code>InvalidAction</Code><Message>The action RunInstances is not valid for this web service.</Message>"},
		{"POST", "", 400, "<Code>MissingAction</Code>"},
		{"POST", "Action=%zz", 400, "<Code>MalformedQueryString</Code>"},
		{"POST", "Action=DescribeVpcs&MaxResults=many", 400, "<Message>Value (many) for parameter MaxResults is invalid. Expecting an integer.</Message>"},
		{"POST", "Action=DescribeVpcs&DryRun=yes", 400, "Value (yes) for parameter DryRun is invalid. Expecting true or false."},
		{"POST", "Action=CreateNetworkInterface", 400, "<Code>MissingParameter</Code><Message>The request must contain the parameter SubnetId</Message>"},
		{"POST", "Action=DescribeNetworkInterfaces&Filter.1.Value.1=x", 400, "<Message>The request must contain the parameter Filter.1.Name</Message>"},
		{"POST", "Action=DeleteNetworkInterface&NetworkInterfaceId=eni-1", 400, "<Code>InvalidNetworkInterfaceID.NotFound</Code>"},
		{"POST", "Action=CreateTags&ResourceId.1=eni-1", 400, "<Code>MissingParameter</Code>"},
		{"POST", "Action=DescribeVpcs&Pad=" + strings.Repeat("x", 1<<20), 400, "<Code>MalformedQueryString</Code>"},
	}
	for _, tt := range tests {
		status, body := w.raw(tt.method, tt.query)
		if status != tt.status || !strings.Contains(body, tt.want) {
			t.Errorf("%s %.60s: %d\n%s\nwant %d with\n%s", tt.method, tt.query, status, body, tt.status, tt.want)
		}
	}
	_, created := w.raw("POST", url.Values{"Action": {"CreateNetworkInterface"}, "SubnetId": {w.subnet("a")}}.Encode())
	if strings.Contains(created, "<attachment>") || !strings.Contains(created, "<status>available</status>") {
		t.Errorf("created: %s", created)
	}
}

func TestRequestLog(t *testing.T) {
	var lines strings.Builder
	w := startLogged(t, "profile: none", &lines)
	must(w.ec2.DescribeSubnets(w.ctx, &ec2.DescribeSubnetsInput{SubnetIds: []string{"subnet-1"}}))
	calls := must(w.sim.Control().Calls(w.ctx))(w)
	if len(calls) != 1 || calls[0].Node != "n1" || calls[0].Action != "DescribeSubnets" || calls[0].Code != "InvalidSubnetID.NotFound" || calls[0].Calls != 1 {
		t.Errorf("calls %+v", calls)
	}
	last := must(w.sim.Control().Requests(w.ctx))(w)[0]
	if last.Params["SubnetId.1"] != "subnet-1" || last.Attempt != "attempt=1; max=1" || last.Invocation == "" || last.Status != 400 || !strings.HasPrefix(last.Caller, "ASIA") {
		t.Errorf("logged %+v", last)
	}
	for _, want := range []string{`"action":"DescribeSubnets"`, `"node":"n1"`, `"latencyMs":`, `"code":"InvalidSubnetID.NotFound"`} {
		if !strings.Contains(lines.String(), want) {
			t.Errorf("the log has no %s: %s", want, lines.String())
		}
	}
	if n := strings.Count(lines.String(), "\n"); n != 1 {
		t.Errorf("%d lines for one request: %s", n, fmt.Sprintf("%q", lines.String()))
	}
}
