package ec2

import (
	"context"
	"log/slog"
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/causeway-cni/causeway/ipamd/internal/pool"
)

func TestDiscover(t *testing.T) {
	w := start(t, "profile: none")
	s := w.status()
	n1 := s.Nodes[0]
	want := Identity{
		InstanceID: n1.InstanceID, InstanceType: "m5.large", Region: "us-west-2", Zone: "us-west-2a",
		VPC: s.VPCID, Subnet: pool.SubnetID(s.Subnets[0].ID), PrimaryENI: pool.ENIID(n1.Interfaces[0].ID),
		PrimaryMAC: n1.Interfaces[0].MAC, PrimaryAddress: n1.Interfaces[0].Addresses[0],
	}
	if diff := cmp.Diff(want, w.id, byValue); diff != "" {
		t.Errorf("(-want +got)\n%s", diff)
	}
	if !want.PrimaryAddress.Is4() || want.PrimaryAddress == (netip.Addr{}) {
		t.Errorf("primary address %s", want.PrimaryAddress)
	}
}

func TestDiscoverFails(t *testing.T) {
	tests := []struct{ name, fault, want string }{
		{"server error", "{action: IMDS, effect: {error: {status: 500}}}", "500"},
		{"token refused", "{action: /latest/api/token, effect: {error: {status: 403}}}", "403"},
		{"silent", "{action: IMDS, effect: {hang: true}}", "timeout"},
		{"no such value", "{action: '/latest/meta-data/network/*/subnet-id', effect: {error: {status: 404}}}", "subnet-id"},
		{"reset", "{action: IMDS, effect: {reset: true}}", "EOF"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			w := start(t, "profile: none")
			w.fault(tt.fault)
			got, err := Discover(t.Context(), slog.New(slog.DiscardHandler))
			if err == nil || !strings.Contains(err.Error(), tt.want) || !strings.Contains(err.Error(), "instance metadata service") || got != (Identity{}) {
				t.Errorf("identity %+v, error %v, want one with %q", got, err, tt.want)
			}
		})
	}
}

func TestAwaitIdentity(t *testing.T) {
	w := start(t, "profile: none")
	w.fault("{action: IMDS, times: 2, effect: {error: {status: 503}}}")
	var log strings.Builder
	got, err := AwaitIdentity(t.Context(), slog.New(slog.NewTextHandler(&log, nil)))
	if err != nil || got != w.id {
		t.Errorf("identity %+v, %v, want %+v", got, err, w.id)
	}
	if n := strings.Count(log.String(), "waiting for the instance metadata service"); n != 2 {
		t.Errorf("%d lines of waiting in the log, want 2:\n%s", n, log.String())
	}
}

func TestAwaitIdentityEnds(t *testing.T) {
	w := start(t, "profile: none")
	w.fault("{action: IMDS, effect: {error: {status: 503}}}")
	ctx, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
	defer cancel()
	if got, err := AwaitIdentity(ctx, slog.New(slog.DiscardHandler)); err == nil || !strings.Contains(err.Error(), "503") {
		t.Errorf("identity %+v, error %v, want the last failure", got, err)
	}
}
