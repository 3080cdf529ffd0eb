package vpc

import (
	"strconv"

	"github.com/causeway-cni/causeway/scripts/vpcsim/internal/awserr"
)

// AttachInput is what AttachNetworkInterface asks for.
type AttachInput struct {
	InterfaceID string
	InstanceID  string
	DeviceIndex int
	NetworkCard int
}

// AttachNetworkInterface plugs an ENI into an instance. It returns while the
// attachment is attaching; the guest sees the device later still.
func (m *Model) AttachNetworkInterface(c Call, in AttachInput) (Attachment, error) {
	defer m.lock()()
	r, err := m.yours(in.InterfaceID)
	if err != nil {
		return Attachment{}, err
	}
	i, err := m.instance(in.InstanceID)
	if err != nil {
		return Attachment{}, err
	}
	if err := m.pluggable(r, i, in); err != nil {
		return Attachment{}, err
	}
	a := &Attachment{
		ID: m.id("eni-attach-"), InstanceID: i.ID, Node: i.Node, DeviceIndex: in.DeviceIndex, NetworkCard: in.NetworkCard,
		Status: Attaching, AttachTime: m.now,
	}
	r.Attachment, r.Status = a, StatusInUse
	out := *a
	m.commit(r, c)
	m.after(m.topo.Delays.Attach.Draw(m.rng)+c.Settle, func() { m.plugged(r, a.ID, c) })
	return out, nil
}

// pluggable refuses what EC2 refuses to attach.
func (m *Model) pluggable(r *record, i *instance, in AttachInput) error {
	if i.State != Running {
		return awserr.New("IncorrectInstanceState", "The instance '%s' is not in a state from which a network interface can be attached.", i.ID)
	}
	if r.Attachment != nil {
		return awserr.New("InvalidNetworkInterface.InUse", "Interface: [%s] in use.", r.ID)
	}
	if r.Zone != i.Zone {
		return awserr.New("InvalidParameterCombination", "You may not attach a network interface to an instance if they are not in the same availability zone")
	}
	card, ok := m.types[i.Type].Card(in.NetworkCard)
	if !ok {
		return awserr.BadValue("networkCardIndex", strconv.Itoa(in.NetworkCard), "The instance type "+i.Type+" has no such network card.")
	}
	if in.DeviceIndex < 0 || in.DeviceIndex > 99 {
		return awserr.BadValue("deviceIndex", strconv.Itoa(in.DeviceIndex), "Expecting a value between 0 and 99.")
	}
	count, total := 0, 0
	for _, o := range m.enis {
		if o.deleted || o.nodeName() != i.Node {
			continue
		}
		total++
		if o.Attachment.NetworkCard != in.NetworkCard {
			continue
		}
		count++
		if o.Attachment.DeviceIndex == in.DeviceIndex {
			return awserr.New("InvalidParameterValue", "Instance '%s' already has an interface attached at device index '%d'.", i.ID, in.DeviceIndex)
		}
	}
	if count >= card.MaxInterfaces {
		return awserr.New("AttachmentLimitExceeded", "Interface count %d exceeds the limit for %s", total+1, i.Type)
	}
	return m.fits(i, r.slots(), r.slots6(), len(r.AllPrefixes()) > 0)
}

// plugged is the step attaching -> attached; the device follows.
func (m *Model) plugged(r *record, attachment string, c Call) {
	if !r.holds(attachment, Attaching) {
		return
	}
	r.Attachment.Status = Attached
	m.commit(r, c)
	if c.Device.Never {
		return
	}
	m.after(m.topo.Delays.DeviceAppear.Draw(m.rng)+c.Device.Delay, func() { m.appear(r, attachment, c.Device) })
}

// appear lets the guest see the device.
func (m *Model) appear(r *record, attachment string, d DeviceFault) {
	if !r.holds(attachment, Attached) {
		return
	}
	r.devicePresent, r.guest = true, d.Guest
	m.notify()
	if d.Gone > 0 {
		m.after(d.Gone, func() {
			if r.holds(attachment, Attached) {
				m.unplug(r, Call{})
			}
		})
	}
}

func (r *record) holds(attachment string, s AttachmentStatus) bool {
	return !r.deleted && r.Attachment != nil && r.Attachment.ID == attachment && r.Attachment.Status == s
}

// DetachNetworkInterface begins to unplug an attachment; it returns while the
// attachment is detaching. Forced, the instance's metadata goes on listing the
// ENI.
func (m *Model) DetachNetworkInterface(c Call, attachment string, force bool) error {
	defer m.lock()()
	r := m.holder(attachment)
	if r == nil {
		return awserr.New("InvalidAttachmentID.NotFound", "The network interface attachment ID '%s' does not exist", attachment)
	}
	a := r.Attachment
	if a.DeviceIndex == 0 && a.NetworkCard == 0 {
		return awserr.New("OperationNotPermitted", "The network interface at device index 0 and networkCard index 0 cannot be detached.")
	}
	if a.Status == Detaching {
		return nil
	}
	if i, err := m.instance(a.InstanceID); err == nil && force {
		i.ghosts = append(i.ghosts, r.ENI.clone())
	}
	m.unplug(r, c)
	return nil
}

// unplug is the step attached -> detaching; the end of the attachment follows.
func (m *Model) unplug(r *record, c Call) {
	attachment := r.Attachment.ID
	r.Attachment.Status, r.devicePresent = Detaching, false
	m.commit(r, c)
	m.after(m.topo.Delays.Detach.Draw(m.rng)+c.Settle, func() {
		if r.holds(attachment, Detaching) {
			r.Attachment, r.Status = nil, StatusAvailable
			m.commit(r, c)
		}
	})
}

func (m *Model) holder(attachment string) *record {
	for _, r := range m.enis {
		if !r.deleted && r.Attachment != nil && r.Attachment.ID == attachment {
			return r
		}
	}
	return nil
}
