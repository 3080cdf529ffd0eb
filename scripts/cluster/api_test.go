package cluster

import (
	"net/netip"
	"testing"
	"time"

	"github.com/vishvananda/netlink"

	"github.com/containernetworking/plugins/pkg/ns"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/causeway-cni/causeway/scripts/nstest"
)

// TestAPI starts a real API server and asks it something.
func TestAPI(t *testing.T) {
	tools, err := Build(t.Context(), func(s string) { t.Log(s) })
	if err != nil {
		t.Fatal(err)
	}
	space := nstest.New(t)
	if err := space.Do(func(ns.NetNS) error { return loopback("192.0.2.1/32") }); err != nil {
		t.Fatal(err)
	}
	began := time.Now()
	api, err := StartAPI(t.Context(), tools, Options{
		Dir: t.TempDir(), Netns: space.Path(), Addr: netip.MustParseAddr("192.0.2.1"), Services: "10.100.0.0/16",
	})
	if err != nil {
		t.Fatal(err)
	}
	defer func() {
		if err := api.Stop(); err != nil {
			t.Error(err)
		}
	}()
	t.Logf("ready after %s", time.Since(began).Round(time.Millisecond))
	info, err := api.Client.Discovery().ServerVersion()
	if err != nil || info.GitVersion != Version {
		t.Errorf("version %v, %v; want %s", info, err, Version)
	}
	spaces, err := api.Client.CoreV1().Namespaces().List(t.Context(), metav1.ListOptions{})
	if err != nil {
		t.Fatal(err)
	}
	t.Logf("%d namespaces", len(spaces.Items))
}

func loopback(address string) error {
	lo, err := netlink.LinkByName("lo")
	if err != nil {
		return err
	}
	a, err := netlink.ParseAddr(address)
	if err != nil {
		return err
	}
	if err := netlink.AddrAdd(lo, a); err != nil {
		return err
	}
	return netlink.LinkSetUp(lo)
}
