package allocator

import (
	"net/netip"
	"slices"
	"time"

	"github.com/causeway-cni/causeway/ipamd/internal/pool"
)

// carryOut does what EC2 does, or refuses what it refuses. The lock is held.
func (f *fakeEC2) carryOut(action pool.Action) (pool.Result, error) {
	switch a := action.(type) {
	case pool.CreateENI:
		return f.create(a)
	case pool.AttachENI:
		return f.attach(a)
	case pool.AssignAddresses:
		return f.assign(a)
	case pool.ProtectENI:
		e := f.enis[a.ENI]
		if e == nil || e.AttachmentID != a.AttachmentID {
			return pool.Result{}, failure(pool.NotFound, "InvalidAttachmentID.NotFound: %s", a.AttachmentID)
		}
		e.DeleteOnTermination = true
	case pool.SetSecurityGroups:
		e := f.enis[a.ENI]
		if e == nil {
			return pool.Result{}, failure(pool.NotFound, "InvalidNetworkInterfaceID.NotFound: %s", a.ENI)
		}
		e.SecurityGroups = a.SecurityGroups
	case pool.UnassignAddresses:
		return pool.Result{}, f.unassign(a)
	case pool.DetachENI:
		e := f.enis[a.ENI]
		if e == nil || e.AttachmentID != a.AttachmentID {
			return pool.Result{}, failure(pool.NotFound, "InvalidAttachmentID.NotFound: %s", a.AttachmentID)
		}
		e.Status, e.AttachmentID, e.DeleteOnTermination = pool.Available, "", false
		delete(f.there, e.ID)
	case pool.DeleteENI:
		switch e := f.enis[a.ENI]; {
		case e == nil:
			return pool.Result{}, failure(pool.NotFound, "InvalidNetworkInterfaceID.NotFound: %s", a.ENI)
		case e.Status != pool.Available:
			return pool.Result{}, failure(pool.InUse, "InvalidParameterValue: %s is in use", a.ENI)
		default:
			f.left += 1 + len(e.Addresses) + 16*len(e.Prefixes)
			delete(f.enis, a.ENI)
		}
	}
	return pool.Result{}, nil
}

func (f *fakeEC2) create(a pool.CreateENI) (pool.Result, error) {
	e := f.enis[f.tokens[a.Token]]
	if e != nil && !e.Created.Equal(a.Created) {
		return pool.Result{}, failure(pool.InUse, "IdempotentParameterMismatch: %s", a.Token)
	}
	if e == nil {
		if a.Addresses+a.Prefixes+1 > f.limits.AddressesPerENI {
			return pool.Result{}, failure(pool.AddressLimit, "PrivateIpAddressLimitExceeded")
		}
		if a.Addresses+16*a.Prefixes+1 > f.left {
			return pool.Result{}, full()
		}
		f.tokens[a.Token] = ""
		e = f.newENI(a.Addresses)
		for range a.Prefixes {
			e.Prefixes = append(e.Prefixes, f.prefix())
		}
		for range a.Prefixes6 {
			e.Prefixes6 = append(e.Prefixes6, f.prefix6())
		}
		e.Created = a.Created
		f.tokens[a.Token] = e.ID
	}
	created := *e
	created.Addresses, created.Prefixes, created.Prefixes6 = slices.Clone(e.Addresses), slices.Clone(e.Prefixes), slices.Clone(e.Prefixes6)
	return pool.Result{Created: &created}, nil
}

func full() error {
	return failure(pool.SubnetFull, "InsufficientFreeAddressesInSubnet: %s has not enough free addresses", subnet)
}

func (f *fakeEC2) attach(a pool.AttachENI) (pool.Result, error) {
	e, attached := f.enis[a.ENI], 0
	if e == nil {
		return pool.Result{}, failure(pool.NotFound, "InvalidNetworkInterfaceID.NotFound: %s", a.ENI)
	}
	for _, other := range f.enis {
		if other.Status == pool.Available {
			continue
		}
		attached++
		if other.Device == a.Device || other == e {
			return pool.Result{}, failure(pool.InUse, "InvalidParameterValue: device %d is in use", a.Device)
		}
	}
	if attached >= f.limits.ENIs {
		return pool.Result{}, failure(pool.ENILimit, "AttachmentLimitExceeded")
	}
	e.Status, e.Device, e.AttachmentID = pool.Attached, a.Device, "eni-attach-"+string(a.ENI)
	if !f.never[a.Device] {
		f.there[e.ID] = time.Now().Add(f.device)
	}
	return pool.Result{AttachmentID: e.AttachmentID}, nil
}

func (f *fakeEC2) assign(a pool.AssignAddresses) (pool.Result, error) {
	e := f.enis[a.ENI]
	switch {
	case e == nil:
		return pool.Result{}, failure(pool.NotFound, "InvalidNetworkInterfaceID.NotFound: %s", a.ENI)
	case len(e.Addresses)+len(e.Prefixes)+1+a.Count+a.Prefixes > f.limits.AddressesPerENI:
		return pool.Result{}, failure(pool.AddressLimit, "PrivateIpAddressLimitExceeded: %s", a.ENI)
	case a.Count+16*a.Prefixes > f.left:
		return pool.Result{}, full()
	}
	var out []netip.Addr
	for range a.Count {
		out = append(out, f.address())
	}
	e.Addresses = append(e.Addresses, out...)
	var prefixes []netip.Prefix
	for range a.Prefixes {
		prefixes = append(prefixes, f.prefix())
	}
	e.Prefixes = append(e.Prefixes, prefixes...)
	var prefixes6 []netip.Prefix
	for range a.Prefixes6 {
		prefixes6 = append(prefixes6, f.prefix6())
	}
	e.Prefixes6 = append(e.Prefixes6, prefixes6...)
	return pool.Result{Assigned: out, AssignedPrefixes: prefixes, AssignedPrefixes6: prefixes6}, nil
}

// unassign takes all or nothing.
func (f *fakeEC2) unassign(a pool.UnassignAddresses) error {
	e := f.enis[a.ENI]
	if e == nil {
		return failure(pool.NotFound, "InvalidNetworkInterfaceID.NotFound: %s", a.ENI)
	}
	for _, x := range a.Addresses {
		if !slices.Contains(e.Addresses, x) {
			return failure(pool.Refused, "InvalidParameterValue: %s is not assigned to %s", x, a.ENI)
		}
	}
	for _, x := range a.Prefixes {
		if !slices.Contains(e.Prefixes, x) {
			return failure(pool.Refused, "InvalidParameterValue: %s is not assigned to %s", x, a.ENI)
		}
	}
	e.Addresses = slices.DeleteFunc(e.Addresses, func(x netip.Addr) bool { return slices.Contains(a.Addresses, x) })
	e.Prefixes = slices.DeleteFunc(e.Prefixes, func(x netip.Prefix) bool { return slices.Contains(a.Prefixes, x) })
	f.left += len(a.Addresses) + 16*len(a.Prefixes)
	return nil
}
