package imds_test

import (
	"fmt"
	"net/http"
	"net/netip"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/ec2"

	"github.com/causeway-cni/causeway/scripts/vpcsim/control"
)

// TestClocks gives each path its own time and state: what a rule is about is
// late, stale, missing, empty or failing while all else is right.
func TestClocks(t *testing.T) {
	const eni = "/latest/meta-data/network/interfaces/macs/*/"
	tests := []struct {
		name, rules string
		path        string // below the second ENI's directory
		want        string // at 1 s, 5 s and 15 s after the change that all rows make
	}{
		{"all at once", "", "ipv4-prefix", "1 1 1"},
		{"prefix late", "{action: " + eni + "ipv4-prefix, effect: {imdsLag: 10s}}", "ipv4-prefix", "404 404 1"},
		{"the addresses are not", "{action: " + eni + "ipv4-prefix, effect: {imdsLag: 10s}}", "local-ipv4s", "3 3 3"},
		{"addresses late", "{action: AssignPrivateIpAddresses, effect: {imdsLag: 4s}}", "local-ipv4s", "1 3 3"},
		{"empty text", "{action: " + eni + "local-ipv4s, effect: {empty: true}}", "local-ipv4s", "0 0 0"},
		{"missing", "{action: " + eni + "device-number, effect: {error: {status: 404}}}", "device-number", "404 404 404"},
		{"no card on old instances", "", "network-card", "404 404 404"},
		{"failing at first", "{action: IMDS, window: {for: 6s}, effect: {error: {status: 500}}}", "interface-id", "500 500 1"},
		{"token lost", "{action: " + eni + "mac, effect: {error: {status: 401}}}", "mac", "401 401 401"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				w := start(t, "{profile: none, nodes: [{name: n1, subnet: a}]}")
				w.add(func(*ec2.CreateNetworkInterfaceInput) {})
				time.Sleep(time.Hour)
				w.rules(tt.rules)
				w.assign()
				began, dir, got := time.Now(), "network/interfaces/macs/"+w.node().Interfaces[1].MAC+"/", []string{}
				for _, second := range []int{1, 5, 15} {
					time.Sleep(time.Until(began.Add(time.Duration(second) * time.Second)))
					got = append(got, count(w.once(dir+tt.path)))
				}
				if got := strings.Join(got, " "); got != tt.want {
					t.Errorf("%q, want %q", got, tt.want)
				}
			})
		})
	}
}

// assign gives the second ENI two addresses and a prefix.
func (w *world) assign() {
	w.Helper()
	for _, in := range []*ec2.AssignPrivateIpAddressesInput{
		{SecondaryPrivateIpAddressCount: aws.Int32(2)}, {Ipv4PrefixCount: aws.Int32(1)},
	} {
		in.NetworkInterfaceId = aws.String(w.node().Interfaces[1].ID)
		if _, err := w.ec2().AssignPrivateIpAddresses(w.Context(), in); err != nil {
			w.Fatal(err)
		}
	}
}

func (w *world) rules(text string) {
	w.Helper()
	if text == "" {
		return
	}
	rules, err := control.ParseRules([]byte(text))
	if err != nil {
		w.Fatal(err)
	}
	if _, err := w.sim.Control().AddFaults(w.Context(), rules...); err != nil {
		w.Fatal(err)
	}
}

// once reads a path without retries; a refusal is "404" and the like.
func (w *world) once(path string) string {
	w.Helper()
	ttl := map[string]string{"X-aws-ec2-metadata-token-ttl-seconds": "300"}
	status, token, _ := w.ask("PUT", "/latest/api/token", ttl)
	if status != http.StatusOK {
		return fmt.Sprint(status)
	}
	status, text, _ := w.ask("GET", "/latest/meta-data/"+path, map[string]string{"X-aws-ec2-metadata-token": token})
	if status != http.StatusOK {
		return fmt.Sprint(status)
	}
	return text
}

// count is the number of lines of a text, or the refusal.
func count(text string) string {
	if len(text) == 3 {
		return text
	}
	return fmt.Sprint(len(strings.Fields(text)))
}

// TestChangesAtRunTime holds that what an operator changes shows.
func TestChangesAtRunTime(t *testing.T) {
	w := start(t, "{profile: none, nodes: [{name: n1, subnet: a}], securityGroups: [{name: pods}]}")
	dir := "network/interfaces/macs/" + w.node().Interfaces[0].MAC + "/"
	if err := w.sim.Control().AddCIDR(t.Context(), netip.MustParsePrefix("100.64.0.0/16")); err != nil {
		t.Fatal(err)
	}
	if got := w.get(dir + "vpc-ipv4-cidr-blocks"); got != lines("10.0.0.0/16", "100.64.0.0/16") {
		t.Errorf("blocks of the VPC: %q", got)
	}
	groups, err := w.ec2().DescribeSecurityGroups(t.Context(), &ec2.DescribeSecurityGroupsInput{})
	if err != nil {
		t.Fatal(err)
	}
	for _, g := range groups.SecurityGroups {
		if *g.GroupName != "pods" {
			continue
		}
		_, err := w.ec2().ModifyNetworkInterfaceAttribute(t.Context(), &ec2.ModifyNetworkInterfaceAttributeInput{
			NetworkInterfaceId: aws.String(w.node().Interfaces[0].ID), Groups: []string{*g.GroupId},
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	if got := w.get(dir + "security-groups"); got != "pods" {
		t.Errorf("security groups: %q", got)
	}
}
