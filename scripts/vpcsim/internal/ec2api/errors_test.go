package ec2api_test

import (
	"fmt"
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/credentials"
	"github.com/aws/aws-sdk-go-v2/service/ec2"
	"github.com/aws/aws-sdk-go-v2/service/ec2/types"

	"github.com/causeway-cni/causeway/scripts/vpcsim/control"
)

const (
	noENI   = "eni-00000000000000001"
	noENI2  = "eni-00000000000000002"
	noGroup = "sg-00000000000000001"
)

// refusal is an error and the message that it has to have.
type refusal struct {
	err     error
	message string
}

func prefixes(texts ...string) []types.Ipv4PrefixSpecificationRequest {
	var out []types.Ipv4PrefixSpecificationRequest
	for _, text := range texts {
		out = append(out, types.Ipv4PrefixSpecificationRequest{Ipv4Prefix: aws.String(text)})
	}
	return out
}

// TestErrors makes every refusal happen that the model or the API can come to
// by itself.
func TestErrors(t *testing.T) {
	assign := func(w *world, id *string, n, blocks int32) error {
		in := &ec2.AssignPrivateIpAddressesInput{NetworkInterfaceId: id}
		if n > 0 {
			in.SecondaryPrivateIpAddressCount = aws.Int32(n)
		}
		if blocks > 0 {
			in.Ipv4PrefixCount = aws.Int32(blocks)
		}
		_, err := w.ec2.AssignPrivateIpAddresses(w.ctx, in)
		return err
	}
	attach := func(w *world, id *string, instance string, index, card int32) error {
		_, err := w.ec2.AttachNetworkInterface(w.ctx, &ec2.AttachNetworkInterfaceInput{
			NetworkInterfaceId: id, InstanceId: &instance, DeviceIndex: aws.Int32(index), NetworkCardIndex: aws.Int32(card),
		})
		return err
	}
	create := func(w *world, change func(*ec2.CreateNetworkInterfaceInput)) error {
		in := &ec2.CreateNetworkInterfaceInput{SubnetId: aws.String(w.subnet("a"))}
		change(in)
		_, err := w.ec2.CreateNetworkInterface(w.ctx, in)
		return err
	}
	detach := func(w *world, id *string) error {
		_, err := w.ec2.DetachNetworkInterface(w.ctx, &ec2.DetachNetworkInterfaceInput{AttachmentId: id})
		return err
	}
	remove := func(w *world, id *string) error {
		_, err := w.ec2.DeleteNetworkInterface(w.ctx, &ec2.DeleteNetworkInterfaceInput{NetworkInterfaceId: id})
		return err
	}
	describe := func(w *world, in *ec2.DescribeNetworkInterfacesInput) error {
		_, err := w.ec2.DescribeNetworkInterfaces(w.ctx, in)
		return err
	}
	modify := func(w *world, in *ec2.ModifyNetworkInterfaceAttributeInput) error {
		in.NetworkInterfaceId = w.primary().NetworkInterfaceId
		_, err := w.ec2.ModifyNetworkInterfaceAttribute(w.ctx, in)
		return err
	}
	tag := func(w *world, id string, tags []types.Tag) error {
		_, err := w.ec2.CreateTags(w.ctx, &ec2.CreateTagsInput{Resources: []string{id}, Tags: tags})
		return err
	}
	tests := []struct {
		name, topology string
		do             func(w *world) refusal
		code           string
		status         int
	}{
		{"no free address", "", func(w *world) refusal {
			w.take(249)
			return refusal{assign(w, w.primary().NetworkInterfaceId, 2, 0), "The specified subnet does not have enough free addresses to satisfy the request."}
		}, "InsufficientFreeAddressesInSubnet", 400},
		{"no free address to create with", "", func(w *world) refusal {
			w.take(-1)
			return refusal{create(w, func(*ec2.CreateNetworkInterfaceInput) {}), "The specified subnet does not have enough free addresses to satisfy the request."}
		}, "InsufficientFreeAddressesInSubnet", 400},
		{"fragmented", "", func(w *world) refusal {
			must(w.sim.Control().Fragment(w.ctx, "a"))(w)
			return refusal{assign(w, w.primary().NetworkInterfaceId, 0, 1), "The specified subnet does not have enough free cidr blocks to satisfy the request."}
		}, "InsufficientCidrBlocks", 400},
		{"prefix of a full subnet", "", func(w *world) refusal {
			w.take(240)
			return refusal{assign(w, w.primary().NetworkInterfaceId, 0, 1), "There aren't sufficient free Ipv4 addresses or prefixes"}
		}, "InvalidParameterValue", 400},
		{"too many addresses", "", func(w *world) refusal {
			return refusal{assign(w, w.primary().NetworkInterfaceId, 10, 0), "Number of private addresses will exceed limit."}
		}, "PrivateIpAddressLimitExceeded", 400},
		{"too many prefixes", "", func(w *world) refusal {
			w.ok(assign(w, w.primary().NetworkInterfaceId, 4, 0))
			return refusal{assign(w, w.primary().NetworkInterfaceId, 0, 6), "Number of private addresses will exceed limit."}
		}, "PrivateIpAddressLimitExceeded", 400},
		{"too many addresses show at attach", "", func(w *world) refusal {
			eni := w.create(func(in *ec2.CreateNetworkInterfaceInput) { in.SecondaryPrivateIpAddressCount = aws.Int32(20) })
			return refusal{attach(w, eni.NetworkInterfaceId, w.sim.Instance("n1"), 1, 0), "Number of private addresses will exceed limit."}
		}, "PrivateIpAddressLimitExceeded", 400},
		{"prefix on Xen", "nodes: [{name: n1, subnet: a, type: m4.large}]", func(w *world) refusal {
			return refusal{assign(w, w.primary().NetworkInterfaceId, 0, 1), "The instance type m4.large does not support prefix delegation"}
		}, "UnsupportedOperation", 400},
		{"too many interfaces", "nodes: [{name: n1, subnet: a, type: t3.medium}]", func(w *world) refusal {
			w.attach(w.create(), 1)
			w.attach(w.create(), 2)
			return refusal{attach(w, w.create().NetworkInterfaceId, w.sim.Instance("n1"), 3, 0), "Interface count 4 exceeds the limit for t3.medium"}
		}, "AttachmentLimitExceeded", 400},
		{"device index taken", "", func(w *world) refusal {
			id := w.sim.Instance("n1")
			w.attach(w.create(), 1)
			return refusal{attach(w, w.create().NetworkInterfaceId, id, 1, 0), fmt.Sprintf("Instance '%s' already has an interface attached at device index '1'.", id)}
		}, "InvalidParameterValue", 400},
		{"attach twice", "", func(w *world) refusal {
			eni := w.create()
			w.attach(eni, 1)
			return refusal{attach(w, eni.NetworkInterfaceId, w.sim.Instance("n1"), 2, 0), fmt.Sprintf("Interface: [%s] in use.", *eni.NetworkInterfaceId)}
		}, "InvalidNetworkInterface.InUse", 400},
		{"attach across zones", "", func(w *world) refusal {
			return refusal{attach(w, w.create().NetworkInterfaceId, w.sim.Instance("n2"), 1, 0),
				"You may not attach a network interface to an instance if they are not in the same availability zone"}
		}, "InvalidParameterCombination", 400},
		{"attach to no card", "", func(w *world) refusal {
			return refusal{attach(w, w.create().NetworkInterfaceId, w.sim.Instance("n1"), 1, 1),
				"Value (1) for parameter networkCardIndex is invalid. The instance type m5.large has no such network card."}
		}, "InvalidParameterValue", 400},
		{"attach to no instance", "", func(w *world) refusal {
			return refusal{attach(w, w.create().NetworkInterfaceId, "i-00000000000000001", 1, 0), "The instance ID 'i-00000000000000001' does not exist"}
		}, "InvalidInstanceID.NotFound", 400},
		{"delete attached", "", func(w *world) refusal {
			id := w.primary().NetworkInterfaceId
			return refusal{remove(w, id), fmt.Sprintf("Network interface '%s' is currently in use.", *id)}
		}, "InvalidParameterValue", 400},
		{"delete detaching", "{delays: {detach: 1h}}", func(w *world) refusal {
			eni := w.create()
			w.ok(detach(w, w.attach(eni, 1)))
			return refusal{remove(w, eni.NetworkInterfaceId), fmt.Sprintf("Network interface '%s' is currently in use.", *eni.NetworkInterfaceId)}
		}, "InvalidParameterValue", 400},
		{"delete unknown", "", func(w *world) refusal {
			return refusal{remove(w, aws.String(noENI)), "The networkInterface ID '" + noENI + "' does not exist"}
		}, "InvalidNetworkInterfaceID.NotFound", 400},
		{"malformed id", "", func(w *world) refusal {
			return refusal{remove(w, aws.String("if-1")), `Invalid id: "if-1" (expecting "eni-...")`}
		}, "InvalidNetworkInterfaceId.Malformed", 400},
		{"describe one unknown", "", func(w *world) refusal {
			return refusal{describe(w, &ec2.DescribeNetworkInterfacesInput{NetworkInterfaceIds: []string{*w.primary().NetworkInterfaceId, noENI}}),
				"The networkInterface ID '" + noENI + "' does not exist"}
		}, "InvalidNetworkInterfaceID.NotFound", 400},
		{"describe two unknown", "", func(w *world) refusal {
			return refusal{describe(w, &ec2.DescribeNetworkInterfacesInput{NetworkInterfaceIds: []string{noENI, noENI2}}),
				"The networkInterface IDs '" + noENI + ", " + noENI2 + "' do not exist"}
		}, "InvalidNetworkInterfaceID.NotFound", 400},
		{"detach unknown", "", func(w *world) refusal {
			return refusal{detach(w, aws.String("eni-attach-1")), "The network interface attachment ID 'eni-attach-1' does not exist"}
		}, "InvalidAttachmentID.NotFound", 400},
		{"detach malformed", "", func(w *world) refusal {
			return refusal{detach(w, aws.String("attach-1")), `Invalid id: "attach-1" (expecting "eni-attach-...")`}
		}, "InvalidNetworkInterfaceAttachmentId.Malformed", 400},
		{"detach primary", "", func(w *world) refusal {
			return refusal{detach(w, w.primary().Attachment.AttachmentId),
				"The network interface at device index 0 and networkCard index 0 cannot be detached."}
		}, "OperationNotPermitted", 400},
		{"interface quota", "interfaceQuota: 2", func(w *world) refusal {
			return refusal{create(w, func(*ec2.CreateNetworkInterfaceInput) {}), "The maximum number of network interfaces has been reached."}
		}, "NetworkInterfaceLimitExceeded", 400},
		{"no subnet", "", func(w *world) refusal {
			return refusal{create(w, func(in *ec2.CreateNetworkInterfaceInput) { in.SubnetId = aws.String("subnet-1") }), "The subnet ID 'subnet-1' does not exist"}
		}, "InvalidSubnetID.NotFound", 400},
		{"no group", "", func(w *world) refusal {
			return refusal{create(w, func(in *ec2.CreateNetworkInterfaceInput) { in.Groups = []string{noGroup} }), "The security group '" + noGroup + "' does not exist"}
		}, "InvalidGroup.NotFound", 400},
		{"modify to no group", "", func(w *world) refusal {
			return refusal{modify(w, &ec2.ModifyNetworkInterfaceAttributeInput{Groups: []string{noGroup}}), "The security group '" + noGroup + "' does not exist"}
		}, "InvalidGroup.NotFound", 400},
		{"address outside", "", func(w *world) refusal {
			return refusal{create(w, func(in *ec2.CreateNetworkInterfaceInput) { in.PrivateIpAddress = aws.String("10.9.9.9") }), "invalid value for parameter address: 10.9.9.9"}
		}, "InvalidParameterValue", 400},
		{"address reserved", "", func(w *world) refusal {
			return refusal{create(w, func(in *ec2.CreateNetworkInterfaceInput) { in.PrivateIpAddress = aws.String("10.0.0.2") }), "Address 10.0.0.2 is in subnet's reserved address range"}
		}, "InvalidParameterValue", 400},
		{"address taken", "", func(w *world) refusal {
			taken := w.primary().PrivateIpAddress
			return refusal{create(w, func(in *ec2.CreateNetworkInterfaceInput) { in.PrivateIpAddress = taken }), "Address " + *taken + " is in use."}
		}, "InvalidIPAddress.InUse", 400},
		{"two kinds of addresses", "", func(w *world) refusal {
			return refusal{assign(w, w.primary().NetworkInterfaceId, 1, 1),
				"You may specify only one of: a number of addresses, addresses, a number of prefixes, prefixes"}
		}, "InvalidParameterCombination", 400},
		{"unassign primary", "", func(w *world) refusal {
			p := w.primary()
			_, err := w.ec2.UnassignPrivateIpAddresses(w.ctx, &ec2.UnassignPrivateIpAddressesInput{NetworkInterfaceId: p.NetworkInterfaceId, PrivateIpAddresses: []string{*p.PrivateIpAddress}})
			return refusal{err, "The primary address " + *p.PrivateIpAddress + " of the network interface cannot be unassigned."}
		}, "InvalidParameterValue", 400},
		{"two attributes", "", func(w *world) refusal {
			return refusal{modify(w, &ec2.ModifyNetworkInterfaceAttributeInput{Description: &types.AttributeValue{Value: aws.String("x")}, SourceDestCheck: &types.AttributeBooleanValue{Value: aws.Bool(true)}}),
				"You can specify only one attribute at a time"}
		}, "InvalidParameterCombination", 400},
		{"tag with a reserved key", "", func(w *world) refusal {
			return refusal{tag(w, *w.primary().NetworkInterfaceId, tags("aws:x", "")), "Tag keys starting with 'aws:' are reserved for internal use"}
		}, "InvalidParameterValue", 400},
		{"too many tags", "", func(w *world) refusal {
			var many []types.Tag
			for i := range 51 {
				many = append(many, tags(fmt.Sprint(i), "")...)
			}
			return refusal{tag(w, *w.primary().NetworkInterfaceId, many), "The maximum number of Tags for a resource has been reached."}
		}, "TagLimitExceeded", 400},
		{"tag on nothing", "", func(w *world) refusal {
			return refusal{tag(w, "vol-1", tags("a", "")), "The ID 'vol-1' is not valid"}
		}, "InvalidID", 400},
		{"unknown filter", "", func(w *world) refusal {
			return refusal{describe(w, &ec2.DescribeNetworkInterfacesInput{Filters: []types.Filter{{Name: aws.String("colour"), Values: []string{"x"}}}}), "The filter 'colour' is invalid"}
		}, "InvalidParameterValue", 400},
		{"too many filter values", "", func(w *world) refusal {
			return refusal{describe(w, &ec2.DescribeNetworkInterfacesInput{Filters: []types.Filter{{Name: aws.String("status"), Values: make([]string, 201)}}}),
				"The maximum number of filter values specified on a single call is 200"}
		}, "FilterLimitExceeded", 400},
		{"page too small", "", func(w *world) refusal {
			return refusal{describe(w, &ec2.DescribeNetworkInterfacesInput{MaxResults: aws.Int32(4)}),
				"The specified value 4 for MaxResults is not valid. Expecting a value between 5 and 1000."}
		}, "InvalidMaxResults", 400},
		{"pages of ids", "", func(w *world) refusal {
			return refusal{describe(w, &ec2.DescribeNetworkInterfacesInput{MaxResults: aws.Int32(5), NetworkInterfaceIds: []string{*w.primary().NetworkInterfaceId}}),
				"The parameter networkInterfaceIds cannot be used with the parameter maxResults"}
		}, "InvalidParameterCombination", 400},
		{"token of nothing", "", func(w *world) refusal {
			return refusal{describe(w, &ec2.DescribeNetworkInterfacesInput{NextToken: aws.String("x")}), "The specified NextToken is not valid"}
		}, "InvalidNextToken", 400},
		{"dry run", "", func(w *world) refusal {
			return refusal{create(w, func(in *ec2.CreateNetworkInterfaceInput) { in.DryRun = aws.Bool(true) }), "Request would have succeeded, but DryRun flag is set."}
		}, "DryRunOperation", 412},
		{"prefix out of line", "", func(w *world) refusal {
			return refusal{create(w, func(in *ec2.CreateNetworkInterfaceInput) { in.Ipv4Prefixes = prefixes("10.0.0.17/28") }),
				"invalid value for parameter prefix: 10.0.0.17/28. A prefix is an aligned /28"}
		}, "InvalidParameterValue", 400},
		{"prefix outside", "", func(w *world) refusal {
			return refusal{create(w, func(in *ec2.CreateNetworkInterfaceInput) { in.Ipv4Prefixes = prefixes("10.9.0.16/28") }),
				"invalid value for parameter prefix: 10.9.0.16/28"}
		}, "InvalidParameterValue", 400},
		{"prefix with reserved addresses", "", func(w *world) refusal {
			return refusal{create(w, func(in *ec2.CreateNetworkInterfaceInput) { in.Ipv4Prefixes = prefixes("10.0.0.240/28") }),
				"The prefix 10.0.0.240/28 is not available"}
		}, "InvalidParameterValue", 400},
		{"unassign what is not there", "", func(w *world) refusal {
			id := w.primary().NetworkInterfaceId
			_, err := w.ec2.UnassignPrivateIpAddresses(w.ctx, &ec2.UnassignPrivateIpAddressesInput{NetworkInterfaceId: id, PrivateIpAddresses: []string{"10.0.0.1"}})
			return refusal{err, "Some of the specified addresses are not assigned to interface " + *id + ": 10.0.0.1"}
		}, "InvalidParameterValue", 400},
		{"attachment of another", "", func(w *world) refusal {
			return refusal{modify(w, &ec2.ModifyNetworkInterfaceAttributeInput{Attachment: &types.NetworkInterfaceAttachmentChanges{
				AttachmentId: aws.String("eni-attach-1"), DeleteOnTermination: aws.Bool(true),
			}}), "The network interface attachment ID 'eni-attach-1' does not exist"}
		}, "InvalidAttachmentID.NotFound", 400},
		{"attachment without a change", "", func(w *world) refusal {
			return refusal{modify(w, &ec2.ModifyNetworkInterfaceAttributeInput{Attachment: &types.NetworkInterfaceAttachmentChanges{AttachmentId: aws.String("eni-attach-1")}}),
				"The request must contain the parameter attachment.deleteOnTermination"}
		}, "MissingParameter", 400},
		{"nothing to modify", "", func(w *world) refusal {
			return refusal{modify(w, &ec2.ModifyNetworkInterfaceAttributeInput{}), "The request must contain an attribute to modify"}
		}, "MissingParameter", 400},
		{"card is full", "nodes: [{name: n1, subnet: a, type: p5.48xlarge}]", func(w *world) refusal {
			for i := range int32(2) {
				w.ok(attach(w, w.create().NetworkInterfaceId, w.sim.Instance("n1"), i+1, 7))
			}
			return refusal{attach(w, w.create().NetworkInterfaceId, w.sim.Instance("n1"), 3, 7), "Interface count 4 exceeds the limit for p5.48xlarge"}
		}, "AttachmentLimitExceeded", 400},
		{"terminated instance", "", func(w *world) refusal {
			eni := w.create()
			w.ok(w.sim.Control().Terminate(w.ctx, "n1"))
			id := w.sim.Instance("n1")
			return refusal{attach(w, eni.NetworkInterfaceId, id, 1, 0), "The instance '" + id + "' is not in a state from which a network interface can be attached."}
		}, "IncorrectInstanceState", 400},
		{"no tags for other things", "", func(w *world) refusal {
			return refusal{create(w, func(in *ec2.CreateNetworkInterfaceInput) {
				in.TagSpecifications = []types.TagSpecification{{ResourceType: types.ResourceTypeInstance, Tags: tags("a", "")}}
			}), "'instance' is not a valid taggable resource type for this operation."}
		}, "InvalidParameterValue", 400},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			topology := tt.topology
			if topology == "" {
				topology = "profile: none"
			}
			w := start(t, topology)
			got := tt.do(w)
			w.refused(got.err, tt.code, tt.status, got.message)
		})
	}
}

// TestInjectedErrors holds status and text of codes that only a rule makes.
func TestInjectedErrors(t *testing.T) {
	tests := []struct {
		code, message string
		status        int
	}{
		{"RequestLimitExceeded", "Request limit exceeded.", 503},
		{"InternalError", "An internal error has occurred", 500},
		{"Unavailable", "The server is overloaded and can't handle the request.", 503},
		{"UnauthorizedOperation", "You are not authorized to perform this operation.", 403},
		{"AuthFailure", "AWS was not able to validate the provided access credentials", 401},
		{"RequestExpired", "Request has expired.", 400},
		{"ConcurrentTagAccess", "Injected by a fault rule", 400},
		{"InsufficientCidrBlocks", "The specified subnet does not have enough free cidr blocks to satisfy the request.", 400},
	}
	for _, tt := range tests {
		t.Run(tt.code, func(t *testing.T) {
			w := start(t, "profile: none")
			w.fault(control.Rule{Action: "DescribeVpcs", Effect: control.Effect{Error: &control.Error{Code: tt.code}}})
			_, err := w.ec2.DescribeVpcs(w.ctx, &ec2.DescribeVpcsInput{})
			w.refused(err, tt.code, tt.status, tt.message)
		})
	}
}

func TestStrictAuth(t *testing.T) {
	w := start(t, "strictAuth: true")
	must(w.ec2.DescribeVpcs(w.ctx, &ec2.DescribeVpcsInput{}))(w)
	stranger := w.client("n1", func(o *ec2.Options) {
		o.Retryer = aws.NopRetryer{}
		o.Credentials = credentials.NewStaticCredentialsProvider("AKIASTRANGER", "secret", "")
	})
	_, err := stranger.DescribeVpcs(w.ctx, &ec2.DescribeVpcsInput{})
	w.refused(err, "AuthFailure", 401, "AWS was not able to validate the provided access credentials")
}
