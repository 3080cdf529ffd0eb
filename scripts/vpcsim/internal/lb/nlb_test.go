package lb

import (
	"testing"

	"github.com/causeway-cni/causeway/scripts/vpcsim/internal/fabric"
)

// TestInstances keeps the client's address, from everywhere, over TCP and UDP.
func TestInstances(t *testing.T) {
	l := newLab(t)
	st := l.create(`
name: web
scheme: internet-facing
listeners: [{port: 80}, {port: 81, targetGroup: datagrams, protocol: UDP}]
targetGroups:
- {name: web, port: 9000, targets: [{node: n1}, {node: n2}], healthCheck: {` + quick + `}}
- {name: datagrams, port: 9000, targets: [{node: n1}, {node: n2}], healthCheck: {` + quick + `}}
`)
	l.await("web", "healthy", "healthy", "healthy", "healthy")
	a, b := st.Zones[0], st.Zones[1]
	for proto, port := range map[string]uint16{"tcp": 80, "udp": 81} {
		// Each address has the targets of its own zone.
		l.expect(fabric.Internet, proto, "", at(a.Public, port), "n1 "+internet)
		l.expect(fabric.Internet, proto, "203.0.113.11", at(b.Public, port), "n2 203.0.113.11")
		l.expect(fabric.Peer, proto, "", at(a.Address, port), "n1 "+peer)
		l.expect("n2", proto, "", at(a.Address, port), "n1 "+n2)
		l.expect("n1", proto, "", at(b.Address, port), "n2 "+n1)
	}
	l.expect(fabric.Internet, "tcp", "", at(a.Public, 82), "")
	l.expect(fabric.Peer, "udp", "", at(a.Address, 80), "")
	l.clean()
}
