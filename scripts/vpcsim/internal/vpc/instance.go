package vpc

import (
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"time"

	"github.com/causeway-cni/causeway/scripts/vpcsim/internal/awserr"
	"github.com/causeway-cni/causeway/scripts/vpcsim/internal/topology"
)

// InstanceState is the state of an instance.
type InstanceState string

// The states of an instance.
const (
	Running    InstanceState = "running"
	Terminated InstanceState = "terminated"
)

// Instance is one node.
type Instance struct {
	Node          string
	ID            string
	ReservationID string
	ImageID       string
	Type          string
	State         InstanceState
	SubnetID      string
	Zone          string
	LaunchTime    time.Time
	Metadata      topology.Metadata
	Tags          map[string]string
	Credentials   Credentials
}

// Credentials are those of the instance's role; the access key names the
// caller of an EC2 request.
type Credentials struct {
	AccessKeyID, SecretAccessKey, Token string
}

type instance struct {
	Instance
	// ghosts are ENIs that were detached by force: the metadata service goes
	// on listing them.
	ghosts []ENI
}

const base32 = "ABCDEFGHIJKLMNOPQRSTUVWXYZ234567"
const base64 = base32 + "abcdefghijklmnopqrstuvwxyz0189"

func (m *Model) letters(alphabet string, n int) string {
	var b strings.Builder
	for range n {
		b.WriteByte(alphabet[m.rng.IntN(len(alphabet))])
	}
	return b.String()
}

func (m *Model) addNode(n topology.Node, public netip.Addr) error {
	i := slices.IndexFunc(m.subnets, func(s *subnet) bool { return s.Name == n.Subnet })
	sub := m.subnets[i]
	inst := &instance{Instance: Instance{
		Node: n.Name, ID: m.id("i-"), ReservationID: m.id("r-"), ImageID: m.id("ami-"), Type: n.Type,
		State: Running, SubnetID: sub.ID, Zone: sub.Zone, LaunchTime: m.now, Metadata: n.Metadata, Tags: copied(n.Tags),
		Credentials: Credentials{"ASIA" + m.letters(base32, 16), m.letters(base64, 40), m.letters(base64, 120) + "=="},
	}}
	var groups []string
	for _, g := range m.groups {
		if slices.Contains(n.SecurityGroups, g.Name) {
			groups = append(groups, g.ID)
		}
	}
	groups, err := m.checkGroups(groups)
	if err != nil {
		return err
	}
	r := &record{ENI: ENI{
		ID: m.id("eni-"), MAC: m.mac(), SubnetID: sub.ID, Zone: sub.Zone, InterfaceType: "interface", RequesterID: m.topo.Account,
		Status: StatusInUse, Groups: groups, SourceDestCheck: true, Tags: map[string]string{}, Public: map[netip.Addr]netip.Addr{},
		Attachment: &Attachment{
			ID: m.id("eni-attach-"), InstanceID: inst.ID, Node: n.Name, Status: Attached, AttachTime: m.now, DeleteOnTermination: true,
		},
	}, devicePresent: true}
	if r.Primary, err = m.takePrimary(sub, n.Address); err != nil {
		return err
	}
	if sub.v6 != nil {
		if a, ok := sub.v6.pick(m.rng); ok {
			sub.v6.take(a)
			r.IPv6 = []netip.Addr{a}
		}
	}
	if n.PublicIP {
		r.Public[r.Primary] = public
	}
	m.instances = append(m.instances, inst)
	m.enis[r.ID] = r
	m.commitNow(r)
	return nil
}

func (i *instance) snapshot() Instance {
	out := i.Instance
	out.Tags = copied(i.Tags)
	return out
}

// Instances lists the instances, sorted by id.
func (m *Model) Instances() []Instance {
	defer m.lock()()
	out := make([]Instance, 0, len(m.instances))
	for _, i := range m.instances {
		out = append(out, i.snapshot())
	}
	slices.SortFunc(out, func(a, b Instance) int { return strings.Compare(a.ID, b.ID) })
	return out
}

// Node returns the instance of that name.
func (m *Model) Node(name string) (Instance, error) {
	defer m.lock()()
	i, err := m.node(name)
	if err != nil {
		return Instance{}, err
	}
	return i.snapshot(), nil
}

func (m *Model) node(name string) (*instance, error) {
	for _, i := range m.instances {
		if i.Node == name {
			return i, nil
		}
	}
	return nil, fmt.Errorf("node %q is not in the topology", name)
}

func (m *Model) instance(id string) (*instance, error) {
	for _, i := range m.instances {
		if i.ID == id {
			return i, nil
		}
	}
	return nil, awserr.New("InvalidInstanceID.NotFound", "The instance ID '%s' does not exist", id)
}

// CallerNode is the name of the node whose role has the access key.
func (m *Model) CallerNode(accessKey string) (string, bool) {
	defer m.lock()()
	for _, i := range m.instances {
		if i.Credentials.AccessKeyID == accessKey {
			return i.Node, true
		}
	}
	return "", false
}

// Identify names the node that owns an address: any address of any ENI that is
// attached to it.
func (m *Model) Identify(a netip.Addr) (string, bool) {
	defer m.lock()()
	a = a.Unmap()
	for _, r := range m.enis {
		if !r.deleted && r.attached(r.nodeName()) && r.Owns(a) {
			return r.nodeName(), true
		}
	}
	return "", false
}

func (e *ENI) nodeName() string {
	if e.Attachment == nil {
		return ""
	}
	return e.Attachment.Node
}

// Terminate ends an instance: its ENIs go with it or are detached, as their
// attachments say. An instance that has ended stays listed.
func (m *Model) Terminate(node string) error {
	defer m.lock()()
	i, err := m.node(node)
	if err != nil {
		return fmt.Errorf("terminating an instance: %w", err)
	}
	i.State = Terminated
	for _, r := range m.enis {
		if r.deleted || r.nodeName() != node {
			continue
		}
		gone := r.Attachment.DeleteOnTermination
		r.Attachment, r.devicePresent, r.Status = nil, false, StatusAvailable
		if gone {
			m.erase(r)
		}
		m.commit(r, Call{})
	}
	m.notify()
	return nil
}
