package ec2api_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strings"
	"syscall"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/ec2"
	"github.com/aws/aws-sdk-go-v2/service/ec2/types"
	"github.com/aws/smithy-go"

	"github.com/causeway-cni/causeway/scripts/vpcsim/control"
)

// player makes the calls of a script, as one node, without retries and with
// ten seconds for each. It works on the ENI that it has made last.
type player struct {
	*world
	client     *ec2.Client
	tokens     int
	eni        *string
	attachment *string
	secondary  []string
}

// play carries out the words of a script and returns what each came to: "ok"
// or what was seen, or the code of an error, or what was left of an answer.
// "n2:word" is a call by n2 on the same ENI.
func (w *world) play(script string) string {
	w.Helper()
	p := &player{world: w}
	clients := map[string]*ec2.Client{}
	var out []string
	for word := range strings.FieldsSeq(script) {
		node, call, ok := strings.Cut(word, ":")
		if !ok {
			node, call = "n1", word
		}
		if clients[node] == nil {
			clients[node] = w.client(node, func(o *ec2.Options) { o.Retryer = aws.NopRetryer{} })
		}
		p.client = clients[node]
		if d, err := time.ParseDuration(call); err == nil {
			time.Sleep(d)
			continue
		}
		out = append(out, p.do(call))
	}
	return strings.Join(out, " ")
}

func (p *player) do(call string) string {
	p.Helper()
	ctx, cancel := context.WithTimeout(p.ctx, 10*time.Second)
	defer cancel()
	if change, ok := p.changes()[call]; ok {
		return outcome("ok", change(ctx))
	}
	look, ok := p.looks()[call]
	if !ok {
		p.Fatalf("the script has a word that is no call: %s", call)
	}
	seen, err := look(ctx)
	return outcome(seen, err)
}

func outcome(seen string, err error) string {
	var api smithy.APIError
	switch {
	case err == nil:
		return seen
	case errors.As(err, &api):
		return api.ErrorCode()
	case errors.Is(err, context.DeadlineExceeded):
		return "timeout"
	case errors.Is(err, syscall.ECONNRESET):
		return "reset"
	case errors.Is(err, io.ErrUnexpectedEOF):
		return "cut"
	}
	return err.Error()
}

func (p *player) changes() map[string]func(context.Context) error {
	return map[string]func(context.Context) error{
		"create":  func(ctx context.Context) error { p.tokens++; return p.create(ctx, p.tokens, 0) },
		"again":   func(ctx context.Context) error { return p.create(ctx, p.tokens, 0) },
		"other":   func(ctx context.Context) error { return p.create(ctx, p.tokens, 1) },
		"attach":  p.attach,
		"protect": p.protect,
		"tag": func(ctx context.Context) error {
			_, err := p.client.CreateTags(ctx, &ec2.CreateTagsInput{Resources: []string{*p.eni}, Tags: tags("k", "v")})
			return err
		},
		"assign": func(ctx context.Context) error {
			return p.assign(ctx, &ec2.AssignPrivateIpAddressesInput{SecondaryPrivateIpAddressCount: aws.Int32(1)})
		},
		"prefix": func(ctx context.Context) error {
			return p.assign(ctx, &ec2.AssignPrivateIpAddressesInput{Ipv4PrefixCount: aws.Int32(1)})
		},
		"unassign": p.unassign,
		"detach": func(ctx context.Context) error {
			_, err := p.client.DetachNetworkInterface(ctx, &ec2.DetachNetworkInterfaceInput{AttachmentId: p.attachment})
			return err
		},
		"delete": func(ctx context.Context) error {
			_, err := p.client.DeleteNetworkInterface(ctx, &ec2.DeleteNetworkInterfaceInput{NetworkInterfaceId: p.eni})
			return err
		},
	}
}

// create makes an ENI with a token of its own, and addresses besides.
func (p *player) create(ctx context.Context, token int, addresses int32) error {
	in := &ec2.CreateNetworkInterfaceInput{SubnetId: aws.String(p.subnet("a")), ClientToken: aws.String(fmt.Sprint("t", token)), TagSpecifications: []types.TagSpecification{
		{ResourceType: types.ResourceTypeNetworkInterface, Tags: tags("made", "by test")},
	}}
	if addresses > 0 {
		in.SecondaryPrivateIpAddressCount = &addresses
	}
	out, err := p.client.CreateNetworkInterface(ctx, in)
	if err == nil {
		p.eni, p.attachment, p.secondary = out.NetworkInterface.NetworkInterfaceId, nil, nil
	}
	return err
}

func (p *player) attach(ctx context.Context) error {
	out, err := p.client.AttachNetworkInterface(ctx, &ec2.AttachNetworkInterfaceInput{
		NetworkInterfaceId: p.eni, InstanceId: aws.String(p.sim.Instance("n1")), DeviceIndex: aws.Int32(1),
	})
	if err == nil {
		p.attachment = out.AttachmentId
	}
	return err
}

// protect sets the ENI to go with its instance.
func (p *player) protect(ctx context.Context) error {
	_, err := p.client.ModifyNetworkInterfaceAttribute(ctx, &ec2.ModifyNetworkInterfaceAttributeInput{
		NetworkInterfaceId: p.eni, Attachment: &types.NetworkInterfaceAttachmentChanges{AttachmentId: p.attachment, DeleteOnTermination: aws.Bool(true)},
	})
	return err
}

func (p *player) assign(ctx context.Context, in *ec2.AssignPrivateIpAddressesInput) error {
	in.NetworkInterfaceId = p.eni
	out, err := p.client.AssignPrivateIpAddresses(ctx, in)
	if err == nil {
		for _, a := range out.AssignedPrivateIpAddresses {
			p.secondary = append(p.secondary, *a.PrivateIpAddress)
		}
	}
	return err
}

func (p *player) unassign(ctx context.Context) error {
	_, err := p.client.UnassignPrivateIpAddresses(ctx, &ec2.UnassignPrivateIpAddressesInput{NetworkInterfaceId: p.eni, PrivateIpAddresses: p.secondary})
	return err
}

func (p *player) looks() map[string]func(context.Context) (string, error) {
	return map[string]func(context.Context) (string, error){
		"see":       p.look(func(e types.NetworkInterface) string { return state(string(e.Status), e.Attachment) }),
		"addresses": p.look(func(e types.NetworkInterface) string { return fmt.Sprint(len(e.PrivateIpAddresses)) }),
		"tags":      p.look(func(e types.NetworkInterface) string { return fmt.Sprint(len(e.TagSet)) }),
		"list":      p.list,
		"instance":  p.instance,
		"free":      func(context.Context) (string, error) { return fmt.Sprint(p.free()), nil },
		"count":     func(context.Context) (string, error) { return fmt.Sprint(p.enis()), nil },
		"device":    p.device,
	}
}

// look describes the ENI by its id.
func (p *player) look(tell func(types.NetworkInterface) string) func(context.Context) (string, error) {
	return func(ctx context.Context) (string, error) {
		out, err := p.client.DescribeNetworkInterfaces(ctx, &ec2.DescribeNetworkInterfacesInput{NetworkInterfaceIds: []string{*p.eni}})
		if err != nil {
			return "", err
		}
		if len(out.NetworkInterfaces) == 0 {
			return "nothing", nil
		}
		return tell(out.NetworkInterfaces[0]), nil
	}
}

func state(status string, a *types.NetworkInterfaceAttachment) string {
	if a == nil {
		return status
	}
	return status + "/" + string(a.Status)
}

// list counts the ENIs of all pages, up to the tenth.
func (p *player) list(ctx context.Context) (string, error) {
	pages, found := 0, 0
	for token := (*string)(nil); pages == 0 || token != nil && pages < 10; pages++ {
		out, err := p.client.DescribeNetworkInterfaces(ctx, &ec2.DescribeNetworkInterfacesInput{NextToken: token})
		if err != nil {
			return "", err
		}
		found, token = found+len(out.NetworkInterfaces), out.NextToken
	}
	return fmt.Sprintf("%d/%d", found, pages), nil
}

// instance counts the ENIs that n1's description has.
func (p *player) instance(ctx context.Context) (string, error) {
	out, err := p.client.DescribeInstances(ctx, &ec2.DescribeInstancesInput{InstanceIds: []string{p.sim.Instance("n1")}})
	if err != nil {
		return "", err
	}
	return fmt.Sprint(len(out.Reservations[0].Instances[0].NetworkInterfaces)), nil
}

// device tells whether n1 has the device of the ENI.
func (p *player) device(ctx context.Context) (string, error) {
	s, err := p.sim.Control().Status(ctx)
	if err != nil {
		return "", err
	}
	for _, i := range s.Nodes[0].Interfaces {
		if i.ID == *p.eni && i.DevicePresent {
			return "there", nil
		}
	}
	return "absent", nil
}

// rules puts rules in force that are written as a user writes them.
func (w *world) rules(text string) {
	w.Helper()
	if text == "" {
		return
	}
	must(w.sim.Control().AddFaults(w.ctx, must(control.ParseRules([]byte(text)))(w)...))(w)
}
