package proxy

import (
	"fmt"
	"net/netip"
	"reflect"
	"strings"
	"testing"

	"github.com/causeway-cni/causeway/proxy/service"
)

func serviceSettings() ServiceSettings {
	return ServiceSettings{MasqueradeMark: 0x4000, PodLink: "eni+", DropInvalid: true}
}

// shop is a service of one port with one endpoint.
func shop(name, clusterIP, endpoint string) (service.Service, service.EndpointSlice) {
	key := service.Key{Namespace: "shop", Name: name}
	s := service.Service{
		Key: key, Type: service.ClusterIP, ClusterIPs: []netip.Addr{netip.MustParseAddr(clusterIP)},
		Ports: []service.Port{{Name: "http", Protocol: service.TCP, Port: 80}},
	}
	return s, service.EndpointSlice{
		Key: key, Service: name, Family: service.IPv4,
		Ports:     []service.EndpointPort{{Name: "http", Protocol: service.TCP, Port: 8080}},
		Endpoints: []service.Endpoint{{Addr: netip.MustParseAddr(endpoint), Ready: true, Serving: true}},
	}
}

func put(t *service.Tracker, name, clusterIP, endpoint string) []service.Key {
	s, slice := shop(name, clusterIP, endpoint)
	return append(t.SetService(s), t.SetSlice(slice)...)
}

func (n *node) syncServices(tr *service.Tracker, changed []service.Key, s ServiceSettings) (did ServiceSync, err error) {
	n.t.Helper()
	n.Do(func() { did, err = n.proxy.SyncServices(n.t.Context(), tr, changed, s) })
	return did, err
}

// TestSyncServices follows services beside external SNAT through a life.
func TestSyncServices(t *testing.T) {
	eachVariant(t, func(t *testing.T, n *node) {
		tr, settings := service.NewTracker(), serviceSettings()
		put(tr, "web", "10.100.0.1", "192.168.1.61")
		step := func(what string, changed []service.Key, want ServiceSync) {
			t.Helper()
			did, err := n.syncServices(tr, changed, settings)
			if err != nil {
				t.Fatalf("%s: %v", what, err)
			}
			if did.Refused = nil; !reflect.DeepEqual(did, want) {
				t.Errorf("%s: %+v, want %+v", what, did, want)
			}
		}
		n.sync(nodeNAT())
		step("first", nil, ServiceSync{Changes: 20, Full: true})
		n.sync(nodeNAT()) // what is before KUBE-SERVICES moves
		step("nothing changed", nil, ServiceSync{})
		step("another service", put(tr, "api", "10.100.0.2", "192.168.1.62"), ServiceSync{Changes: 3})
		step("another endpoint", put(tr, "api", "10.100.0.2", "192.168.1.63"), ServiceSync{Changes: 3})
		if !n.untouched() {
			t.Error("our own change of services was taken for another's")
		}
		step("service gone", tr.DeleteService(service.Key{Namespace: "shop", Name: "api"}), ServiceSync{Changes: 3})
		want := n.rules()

		n.iptables("-t", "filter", "-F")
		if n.untouched() {
			t.Error("a flush of filter was not noticed")
		}
		n.iptables("-t", "nat", "-F")
		n.sync(nodeNAT())
		if did, err := n.syncServices(tr, nil, settings); err != nil || did.Changes == 0 || !did.Full {
			t.Errorf("repair: %+v, %v", did, err)
		}
		if changes := n.sync(nodeNAT()); len(changes) > 0 {
			t.Errorf("external SNAT after the repair: %q", changes)
		}
		n.mustShow(want)
		settings.MasqueradeAll = true
		step("other settings", nil, ServiceSync{Changes: 1, Full: true})
	})
}

// TestServicesComeFirst holds that no packet to a service meets the connection
// mark of external SNAT, whichever was written first, and whoever else serves.
func TestServicesComeFirst(t *testing.T) {
	eachVariant(t, func(t *testing.T, n *node) {
		tr := service.NewTracker()
		put(tr, "web", "10.100.0.1", "192.168.1.61")
		n.sync(nodeNAT())
		if _, err := n.syncServices(tr, nil, serviceSettings()); err != nil {
			t.Fatal(err)
		}
		for _, chain := range []string{"PREROUTING", "POSTROUTING"} {
			rules := n.iptables("-t", "nat", "-S", chain)
			kube, aws := strings.Index(rules, "-j KUBE-"), strings.Index(rules, "-j AWS-")
			if kube < 0 || aws < kube {
				t.Errorf("KUBE at %d, AWS at %d in\n%s", kube, aws, rules)
			}
		}
		n.kubeProxy().EnsureJumps()
		if changes := n.sync(nodeNAT()); len(changes) > 0 {
			t.Errorf("external SNAT changed again: %q", changes)
		}
	})
}

// TestRefusedService names the bad service and writes the good one.
func TestRefusedService(t *testing.T) {
	eachVariant(t, func(t *testing.T, n *node) {
		tr := service.NewTracker()
		put(tr, "web", "10.100.0.1", "192.168.1.61")
		bad, _ := shop("bad\n-F", "10.100.0.2", "192.168.1.62")
		tr.SetService(bad)
		did, err := n.syncServices(tr, nil, serviceSettings())
		if err != nil || !strings.Contains(fmt.Sprint(did.Refused), `"shop/bad\n-F"`) {
			t.Errorf("%+v, %v: want the name of the bad service", did, err)
		}
		if rules := n.iptables("-t", "nat", "-S", "KUBE-SERVICES"); !strings.Contains(rules, "shop/web:http cluster IP") {
			t.Errorf("the good service is not served:\n%s", rules)
		}
	})
}

// TestFailedServices lets a rule of another stand in the way of a chain's end,
// and wants the call after that to put everything right.
func TestFailedServices(t *testing.T) {
	eachVariant(t, func(t *testing.T, n *node) {
		tr, settings := service.NewTracker(), serviceSettings()
		put(tr, "web", "10.100.0.1", "192.168.1.61")
		if _, err := n.syncServices(tr, nil, settings); err != nil {
			t.Fatal(err)
		}
		rules := n.iptables("-t", "nat", "-S", "KUBE-SERVICES")
		_, chain, _ := strings.Cut(rules, "-j KUBE-SVC-")
		chain, _, _ = strings.Cut("KUBE-SVC-"+chain, "\n")
		n.iptables("-t", "nat", "-A", "OUTPUT", "-j", chain)
		changed := tr.DeleteService(service.Key{Namespace: "shop", Name: "web"})
		if _, err := n.syncServices(tr, changed, settings); err == nil || !strings.Contains(err.Error(), "chains of services") {
			t.Errorf("error %v, want it to say what was written", err)
		}
		n.iptables("-t", "nat", "-D", "OUTPUT", "-j", chain)
		did, err := n.syncServices(tr, nil, settings)
		if err != nil || !did.Full {
			t.Errorf("%+v, %v: want all to be gone through", did, err)
		}
		if left := n.iptables("-t", "nat", "-S"); strings.Contains(left, "shop/web") || strings.Contains(left, "KUBE-SEP-") {
			t.Errorf("left over:\n%s", left)
		}
	})
}
