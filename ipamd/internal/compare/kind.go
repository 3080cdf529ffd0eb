package compare

// Kind is a kind of difference.
type Kind int

const (
	// AddressUnknown: EC2 shows an address or prefix on an ENI of ours that
	// nobody here asked for. It is in quarantine: handed out to nobody, and not
	// given back, until EC2 does not show it any more.
	AddressUnknown Kind = iota
	// AddressInUse: an address that is free by the book is used by the node
	// itself, or routed to a link. No pod gets it while that is so.
	AddressInUse
	// AddressLost: a pod holds an address that no ENI has. The pod keeps it; what
	// it sends is dropped by the VPC.
	AddressLost
	// AddressMoved: a pod holds an address as one ENI's that another ENI has. The
	// pod keeps it; what it sends is dropped by the VPC.
	AddressMoved
	// ENIMissing: pods hold addresses of an ENI that EC2 does not show. They keep
	// them.
	ENIMissing
	// ENIUnattached: an ENI of this node is attached to nothing. The plan attaches
	// or deletes it.
	ENIUnattached
	// DeviceMissing: an attached ENI has no link on the node. No pod gets its
	// addresses.
	DeviceMissing
	// SandboxGone: a pod holds an address, and its link is gone. The address is
	// released if no DEL comes.
	SandboxGone
	// LinkUnknown: a link has a pod's name, and no assignment names it. It is left
	// alone.
	LinkUnknown
)

// Kinds are all of them.
func Kinds() []Kind {
	return []Kind{AddressUnknown, AddressInUse, AddressLost, AddressMoved, ENIMissing, ENIUnattached, DeviceMissing, SandboxGone, LinkUnknown}
}

// String is the name, as metrics have it.
func (k Kind) String() string {
	return [...]string{"address-unknown", "address-in-use", "address-lost", "address-moved", "eni-missing",
		"eni-unattached", "device-missing", "sandbox-gone", "link-unknown"}[k]
}

// Remedy is what is done about it, in words.
func (k Kind) Remedy() string {
	return [...]string{
		AddressUnknown: "handed out to nobody and not given back, until EC2 does not show it any more",
		AddressInUse:   "handed out to nobody while that is so",
		AddressLost:    "the pod keeps it: if it has no network, delete the pod",
		AddressMoved:   "the pod keeps it: if it has no network, delete the pod",
		ENIMissing:     "pods keep its addresses",
		ENIUnattached:  "it is attached again or deleted",
		DeviceMissing:  "no pod gets its addresses",
		SandboxGone:    "released if no DEL comes",
		LinkUnknown:    "left alone",
	}[k]
}
