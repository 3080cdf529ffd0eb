package vpc

import (
	"fmt"
	"net/netip"

	"github.com/causeway-cni/causeway/scripts/vpcsim/internal/awserr"
	"github.com/causeway-cni/causeway/scripts/vpcsim/internal/topology"
)

// balancerOwner is the requester of the ENIs of load balancers.
const balancerOwner = "amazon-elb"

// AddBalancerInterface makes the ENI of a load balancer in a subnet, which is
// given by name. It is in use though no instance has it, and users of the EC2
// API can look at it but not touch it.
func (m *Model) AddBalancerInterface(b topology.LoadBalancer, subnetName string) (ENI, error) {
	defer m.lock()()
	e, err := m.addBalancerInterface(b, subnetName)
	if err != nil {
		return ENI{}, fmt.Errorf("making the interface of load balancer %s in subnet %s: %w", b.Name, subnetName, err)
	}
	return e, nil
}

func (m *Model) addBalancerInterface(b topology.LoadBalancer, subnetName string) (ENI, error) {
	s, err := m.named(subnetName)
	if err != nil {
		return ENI{}, err
	}
	r, _, err := m.draft(Call{Caller: balancerOwner}, CreateInput{SubnetID: s.ID})
	if err != nil {
		return ENI{}, err
	}
	r.Managed, r.Status = true, StatusInUse
	r.InterfaceType, r.Description = "interface", fmt.Sprintf("ELB app/%s/%s", b.Name, m.id("")[1:])
	if b.Type == topology.NLB {
		// A balancer translates addresses that are not its own.
		r.InterfaceType, r.SourceDestCheck = "network_load_balancer", false
		r.Description = fmt.Sprintf("ELB net/%s/%s", b.Name, m.id("")[1:])
	}
	if r.Primary, err = m.takePrimary(s, netip.Addr{}); err != nil {
		return ENI{}, err
	}
	if b.Scheme == topology.InternetFacing {
		public, err := m.takePublic()
		if err != nil {
			s.v4.drop(r.Primary)
			return ENI{}, err
		}
		r.Public[r.Primary] = public
	}
	r.ID, r.MAC = m.id("eni-"), m.mac()
	m.enis[r.ID] = r
	m.commit(r, Call{})
	return r.ENI.clone(), nil
}

// RemoveBalancerInterface removes what AddBalancerInterface made. An ENI that
// is gone is fine.
func (m *Model) RemoveBalancerInterface(id string) {
	defer m.lock()()
	r, err := m.live(id)
	if err != nil || !r.Managed {
		return
	}
	m.erase(r)
	m.commit(r, Call{})
}

// takePublic returns the first public address that no ENI has.
func (m *Model) takePublic() (netip.Addr, error) {
	taken := map[netip.Addr]bool{}
	for _, r := range m.enis {
		for _, public := range r.Public {
			taken[public] = taken[public] || !r.deleted
		}
	}
	pool := m.topo.VPC.PublicPool
	for a := firstPublic(pool); pool.Contains(a.Next()); a = a.Next() {
		if !taken[a] {
			return a, nil
		}
	}
	return netip.Addr{}, fmt.Errorf("vpc.publicPool %s has no free address: choose a larger block", pool)
}

// firstPublic is the first address of the pool that is handed out: the first
// ten stay free for hosts of the outside world.
func firstPublic(pool netip.Prefix) netip.Addr {
	a := pool.Addr()
	for range 11 {
		a = a.Next()
	}
	return a
}

// yours finds an ENI that users of the EC2 API may change.
func (m *Model) yours(id string) (*record, error) {
	r, err := m.live(id)
	if err == nil && r.Managed {
		return nil, awserr.New("OperationNotPermitted", "The network interface '%s' is managed by %s and cannot be changed.", id, r.RequesterID)
	}
	return r, err
}

// balancers lists what the fabric has to know about load balancers.
func (m *Model) balancers() []BalancerView {
	var out []BalancerView
	for _, e := range m.interfaces() {
		if e.Managed {
			out = append(out, BalancerView{ID: e.ID, Subnet: e.SubnetID, Address: e.Primary, Public: e.Public[e.Primary]})
		}
	}
	return out
}
