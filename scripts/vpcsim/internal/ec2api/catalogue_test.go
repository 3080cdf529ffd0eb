package ec2api_test

import (
	"testing"

	"github.com/aws/aws-sdk-go-v2/service/ec2"
)

// row provokes one thing that can go wrong and tells what a client sees of it.
type row struct {
	name     string
	topology string // besides profile none
	rules    string
	script   string
	want     string
}

func provoke(t *testing.T, rows []row) {
	for _, r := range rows {
		t.Run(r.name, func(t *testing.T) {
			inBubble(t, "{profile: none, "+r.topology+"}", func(w *world) {
				w.rules(r.rules)
				if got := w.play(r.script); got != r.want {
					t.Errorf("%s\n got %s\nwant %s", r.script, got, r.want)
				}
			})
		})
	}
}

// TestRefusals provokes the answers that do nothing.
func TestRefusals(t *testing.T) {
	provoke(t, []row{
		{"throttle once", "", "{action: CreateNetworkInterface, times: 1, effect: {throttle: true}}", "create create", "RequestLimitExceeded ok"},
		{"throttle one action", "", "{action: CreateTags, effect: {throttle: true}}", "create tag attach", "ok RequestLimitExceeded ok"},
		{"throttle all nodes in a burst", "", `{action: "*", window: {for: 20s}, effect: {throttle: true}}`, "list n2:list 20s list n2:list",
			"RequestLimitExceeded RequestLimitExceeded 2/1 2/1"},
		{"bursts", "", `{action: "*", window: {for: 20s, every: 1m}, effect: {throttle: true}}`, "list 20s list 40s list 20s list",
			"RequestLimitExceeded 2/1 RequestLimitExceeded 2/1"},
		{"throttle one node", "", `{node: n2, action: "*", effect: {throttle: true}}`, "list n2:list", "2/1 RequestLimitExceeded"},
		{"empty bucket of the account", "throttle: {buckets: {CreateTags: {size: 2, refill: 0.1}}}", "", "create tag tag n2:tag 10s n2:tag tag",
			"ok ok ok RequestLimitExceeded ok RequestLimitExceeded"},
		{"every second", "", "{action: DescribeNetworkInterfaces, every: 2, effect: {error: {code: InternalError}}}", "list list list list", "2/1 InternalError 2/1 InternalError"},
		{"overloaded", "", "{action: DescribeNetworkInterfaces, times: 2, effect: {error: {code: Unavailable}}}", "list list list", "Unavailable Unavailable 2/1"},
		{"page of a balancer", "", "{action: CreateNetworkInterface, effect: {html502: true}}", "create count", "UnknownError 2"},
		{"reset before", "", "{action: CreateNetworkInterface, effect: {reset: true}}", "create count", "reset 2"},
		{"hang", "", "{action: CreateNetworkInterface, effect: {hang: true}}", "create count", "timeout 2"},
		{"no permission", "", "{action: ModifyNetworkInterfaceAttribute, effect: {error: {code: UnauthorizedOperation}}}", "create attach protect", "ok ok UnauthorizedOperation"},
		{"bad credentials", "", `{node: n1, action: "*", effect: {error: {code: AuthFailure}}}`, "list n2:list", "AuthFailure 2/1"},
		{"expired credentials", "", `{action: "*", effect: {error: {code: RequestExpired}}}`, "list", "RequestExpired"},
		{"limit though there is room", "", "{action: AssignPrivateIpAddresses, effect: {error: {code: PrivateIpAddressLimitExceeded}}}", "create assign", "ok PrivateIpAddressLimitExceeded"},
		{"limit of attachments though there is room", "", "{action: AttachNetworkInterface, effect: {error: {code: AttachmentLimitExceeded}}}", "create attach", "ok AttachmentLimitExceeded"},
		{"index taken by another actor", "", "", "create n2:attach create attach", "ok ok ok InvalidParameterValue"},
		{"attached by another actor", "", "", "create n2:attach attach", "ok ok InvalidNetworkInterface.InUse"},
		{"instance is stopping", "", "{action: AttachNetworkInterface, effect: {error: {code: IncorrectState}}}", "create attach", "ok IncorrectState"},
		{"attach and delete fail", "", `[{action: AttachNetworkInterface, effect: {error: {code: InternalError}}}, {action: DeleteNetworkInterface, effect: {reset: true}}]`,
			"create attach delete count", "ok InternalError reset 3"},
		{"in use for three tries", "", "{action: DeleteNetworkInterface, times: 3, effect: {error: {code: InvalidParameterValue}}}", "create delete delete delete delete count",
			"ok InvalidParameterValue InvalidParameterValue InvalidParameterValue ok 2"},
		{"token with other parameters", "", "", "create again other", "ok ok IdempotentParameterMismatch"},
		{"tags at once", "", "{action: CreateTags, nth: 1, effect: {error: {code: ConcurrentTagAccess}}}", "create tag tag", "ok ConcurrentTagAccess ok"},
		{"quota of the region", "interfaceQuota: 3", "", "create create", "ok NetworkInterfaceLimitExceeded"},
	})
}

// TestLostOrLate provokes answers that do not arrive, or late, of calls that
// were carried out.
func TestLostOrLate(t *testing.T) {
	lost := func(action string) string { return "{action: " + action + ", nth: 1, effect: {lost: true}}" }
	provoke(t, []row{
		{"create", "", lost("CreateNetworkInterface"), "create count again count", "reset 3 ok 3"},
		{"attach", "", lost("AttachNetworkInterface"), "create attach attach see", "ok reset InvalidNetworkInterface.InUse in-use/attached"},
		{"modify", "", lost("ModifyNetworkInterfaceAttribute"), "create attach protect protect", "ok ok reset ok"},
		{"assign", "", lost("AssignPrivateIpAddresses"), "create assign addresses assign addresses", "ok reset 2 ok 3"},
		{"unassign", "", lost("UnassignPrivateIpAddresses"), "create assign unassign unassign addresses", "ok ok reset InvalidParameterValue 1"},
		{"detach", "", lost("DetachNetworkInterface"), "create attach detach detach see", "ok ok reset InvalidAttachmentID.NotFound available"},
		{"delete", "", lost("DeleteNetworkInterface"), "create delete delete count", "ok reset InvalidNetworkInterfaceID.NotFound 2"},
		{"tag", "", lost("CreateTags"), "create tag tags", "ok reset 2"},
		{"done, then a hang", "", "{action: AttachNetworkInterface, effect: {lost: true, hang: true}}", "create attach see", "ok timeout in-use/attached"},
		{"half of the answer", "", "{action: AttachNetworkInterface, effect: {truncate: true}}", "create attach see", "ok cut in-use/attached"},
		{"slow describe", "", `{action: "Describe*", effect: {latency: 60s}}`, "list create", "timeout ok"},
		{"slow at times", "", "{action: DescribeNetworkInterfaces, every: 3, effect: {latency: 11s}}", "list list list list", "2/1 2/1 timeout 2/1"},
		{"slow on one node", "", `{node: n1, action: "*", effect: {latency: 9s}}`, "n2:list list", "2/1 2/1"},
	})
}

// TestOthersTake provokes subnets that others fill meanwhile.
func TestOthersTake(t *testing.T) {
	provoke(t, []row{
		{"free again", "", "{action: AssignPrivateIpAddresses, nth: 1, effect: {exhaust: 30s}}", "create free assign free assign 30s free assign",
			"ok 249 InsufficientFreeAddressesInSubnet 0 InsufficientFreeAddressesInSubnet 249 ok"},
		{"taken before a create", "", "{action: CreateNetworkInterface, nth: 2, effect: {exhaust: 30s}}", "create create count 30s create",
			"ok InsufficientFreeAddressesInSubnet 3 ok"},
		{"taken before a prefix", "", "{action: AssignPrivateIpAddresses, nth: 1, effect: {exhaust: 30s}}", "create prefix 30s prefix", "ok InvalidParameterValue ok"},
		{"no block for a while", "", "{action: AssignPrivateIpAddresses, window: {for: 30s}, effect: {error: {code: InsufficientCidrBlocks}}}", "create prefix 30s prefix",
			"ok InsufficientCidrBlocks ok"},
	})
}

// TestDescriptions provokes what Describe calls can have wrong.
func TestDescriptions(t *testing.T) {
	const four = "pageLimit: 1, nodes: [{name: n1, subnet: a}, {name: n2, subnet: b}, {name: n3, subnet: b}, {name: n4, subnet: b}]"
	provoke(t, []row{
		{"not found after create", "", "{action: CreateNetworkInterface, effect: {stale: 10s}}", "create see tag 10s see", "ok InvalidNetworkInterfaceID.NotFound ok available"},
		{"describe of thirty seconds ago", "", "{action: DescribeNetworkInterfaces, times: 1, effect: {stale: 30s}}", "1m create see see", "ok InvalidNetworkInterfaceID.NotFound available"},
		{"instance of ten seconds ago", "", "{action: DescribeInstances, effect: {stale: 10s}}", "1m create attach instance 10s instance", "ok ok 1 2"},
		{"not found by a change", "", "{action: CreateTags, nth: 1, effect: {error: {code: InvalidNetworkInterfaceID.NotFound}}}", "create tag tag", "ok InvalidNetworkInterfaceID.NotFound ok"},
		{"available after attach", "", "{action: AttachNetworkInterface, effect: {stale: 10s}}", "create attach see 10s see", "ok ok available in-use/attached"},
		{"attaching for long", "", "{action: AttachNetworkInterface, effect: {settle: 1m}}", "create attach see 1m see", "ok ok in-use/attaching in-use/attached"},
		{"pending for long", "", "{action: CreateNetworkInterface, effect: {settle: 1m}}", "other see 1m see", "ok pending available"},
		{"detaching for long", "", "{action: DetachNetworkInterface, effect: {settle: 5m}}", "create attach detach see delete 5m see delete",
			"ok ok ok in-use/detaching InvalidParameterValue available ok"},
		{"detaching for ever", "", "{action: DetachNetworkInterface, effect: {settle: 10000h}}", "create attach detach 500h see", "ok ok ok in-use/detaching"},
		{"listed after unassign", "", "{action: UnassignPrivateIpAddresses, effect: {stale: 10s}}", "create assign unassign addresses 10s addresses", "ok ok ok 2 1"},
		{"tags come late", "", "{action: CreateTags, effect: {stale: 10s}}", "create tag tags 10s tags", "ok ok 1 2"},
		{"another node sees no tags", "", "{node: n2, action: DescribeNetworkInterfaces, window: {for: 10s}, effect: {noTags: true}}", "create n2:tags tags 10s n2:tags", "ok 0 1 1"},
		{"no attachment", "", "{action: DescribeNetworkInterfaces, nth: 1, effect: {noAttachment: true}}", "create attach see see", "ok ok in-use in-use/attached"},
		{"empty set", "", "{action: DescribeNetworkInterfaces, times: 1, effect: {empty: true}}", "create see see", "ok nothing available"},
		{"small pages", four, "", "list", "4/4"},
		{"lost page", four, "{action: DescribeNetworkInterfaces, nth: 2, effect: {empty: true}}", "list", "3/4"},
		{"page that names itself", four, "{action: DescribeNetworkInterfaces, effect: {sameToken: true}}", "list", "10/10"},
		{"expired token", four, "{action: DescribeNetworkInterfaces, nth: 3, effect: {error: {code: InvalidNextToken}}}", "list list", "InvalidNextToken 4/4"},
	})
}

// TestDevices provokes what can become of a device; how a guest renames and
// configures it is a test of package fabric.
func TestDevices(t *testing.T) {
	provoke(t, []row{
		{"never", "", "{action: device, effect: {deviceNever: true}}", "create attach 1h device see", "ok ok absent in-use/attached"},
		{"late", "", "{action: device, effect: {deviceDelay: 150s}}", "create attach 149s device 1s device", "ok ok absent there"},
		{"gone", "", "{action: device, effect: {deviceGone: 1m}}", "create attach 59s device see 1s device see", "ok ok there in-use/attached absent available"},
		{"late and gone", "", "{action: AttachNetworkInterface, effect: {deviceDelay: 10s, deviceGone: 10s}}", "create attach 10s device 10s device", "ok ok there absent"},
		{"gone before it would be", "", "{action: device, effect: {deviceGone: 1m}}", "create attach detach 2m attach 1m see", "ok ok ok ok available"},
	})
}

// TestMessages holds that injected errors name what the request was about.
func TestMessages(t *testing.T) {
	w := start(t, "profile: none")
	w.rules(`
- {action: DescribeNetworkInterfaces, times: 1, effect: {error: {code: InvalidNetworkInterfaceID.NotFound}}}
- {action: DeleteNetworkInterface, effect: {error: {code: InvalidParameterValue, message: "Network interface '{NetworkInterfaceId}' is currently in use."}}}`)
	id := w.create().NetworkInterfaceId
	_, err := w.ec2.DescribeNetworkInterfaces(w.ctx, &ec2.DescribeNetworkInterfacesInput{NetworkInterfaceIds: []string{*id}})
	w.refused(err, "InvalidNetworkInterfaceID.NotFound", 400, "The networkInterface ID '"+*id+"' does not exist")
	_, err = w.ec2.DeleteNetworkInterface(w.ctx, &ec2.DeleteNetworkInterfaceInput{NetworkInterfaceId: id})
	w.refused(err, "InvalidParameterValue", 400, "Network interface '"+*id+"' is currently in use.")
}
