package topology

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/causeway-cni/causeway/scripts/vpcsim/internal/span"
)

// Delays says how long each step of the VPC takes.
type Delays struct {
	Create        span.Range // the CreateNetworkInterface call
	Pending       span.Range // pending -> available of an ENI created with further addresses
	AttachCall    span.Range // the AttachNetworkInterface call
	Attach        span.Range // attaching -> attached, after the call
	DeviceAppear  span.Range // attached -> the guest sees the device
	IMDSMAC       span.Range // attached -> IMDS lists the MAC, with the primary address only
	IMDSAddresses span.Range // attached -> IMDS lists all its addresses
	IMDSAssign    span.Range // an address or prefix (un)assigned -> IMDS shows it
	IMDSRemove    span.Range // detached -> IMDS drops the MAC
	Assign        span.Range // the Assign and Unassign calls
	Detach        span.Range // detaching -> detached
	DescribeLag   span.Range // a change -> Describe shows it
	Register      span.Range // RegisterTargets -> the load balancer begins to check
}

// fields maps the names in a topology file to the fields.
func (d *Delays) fields() map[string]*span.Range {
	return map[string]*span.Range{
		"create": &d.Create, "pending": &d.Pending, "attachCall": &d.AttachCall, "attach": &d.Attach,
		"deviceAppear": &d.DeviceAppear, "imdsMAC": &d.IMDSMAC, "imdsAddresses": &d.IMDSAddresses,
		"imdsAssign": &d.IMDSAssign, "imdsRemove": &d.IMDSRemove, "assign": &d.Assign,
		"detach": &d.Detach, "describeLag": &d.DescribeLag, "register": &d.Register,
	}
}

func ms(n int) span.Range { return span.Fixed(time.Duration(n) * time.Millisecond) }

func spread(low, high int) span.Range {
	return span.Range{Min: ms(low).Min, Max: ms(high).Min}
}

// Profile returns a named set of delays: "fast" keeps every step apart but
// short, "none" lets everything happen at once, "realistic" has lengths as
// seen on EC2.
func Profile(name string) (Delays, error) {
	switch name {
	case "fast":
		return Delays{
			Create: ms(10), Pending: ms(20), AttachCall: ms(20), Attach: ms(30), DeviceAppear: ms(50),
			IMDSMAC: ms(30), IMDSAddresses: ms(80), IMDSAssign: ms(60), IMDSRemove: ms(60),
			Assign: ms(10), Detach: ms(100), DescribeLag: ms(10), Register: ms(100),
		}, nil
	case "none":
		return Delays{}, nil
	case "realistic":
		return Delays{
			Create: spread(150, 300), Pending: spread(200, 600), AttachCall: spread(400, 700), Attach: spread(300, 1000),
			DeviceAppear: spread(1000, 5000), IMDSMAC: spread(200, 500), IMDSAddresses: spread(600, 1200),
			IMDSAssign: spread(500, 5000), IMDSRemove: spread(1000, 4000),
			Assign: spread(200, 450), Detach: spread(2000, 6000), DescribeLag: spread(0, 2000), Register: spread(30_000, 120_000),
		}, nil
	}
	return Delays{}, fmt.Errorf(`profile %q is unknown: use "fast", "realistic" or "none"`, name)
}

// override sets the delays that a file names.
func (d *Delays) override(named map[string]string) error {
	fields := d.fields()
	for name, text := range named {
		field, ok := fields[name]
		if !ok {
			return fmt.Errorf("delays.%s is unknown: name one of %s", name, strings.Join(sortedKeys(fields), ", "))
		}
		r, err := span.ParseRange(text)
		if err != nil {
			return fmt.Errorf("delays.%s: %w", name, err)
		}
		*field = r
	}
	return nil
}

func sortedKeys[V any](m map[string]V) []string {
	keys := make([]string, 0, len(m))
	for k := range m {
		keys = append(keys, k)
	}
	slices.Sort(keys)
	return keys
}
