package imds_test

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/credentials"
	sdk "github.com/aws/aws-sdk-go-v2/feature/ec2/imds"
	"github.com/aws/aws-sdk-go-v2/service/ec2"
	"github.com/google/go-cmp/cmp"

	"github.com/causeway-cni/causeway/scripts/vpcsim/control"
	"github.com/causeway-cni/causeway/scripts/vpcsim/internal/span"
	"github.com/causeway-cni/causeway/scripts/vpcsim/sim"
)

// world is a simulator and the metadata clients of its node n1.
type world struct {
	*testing.T
	sim  *sim.Sim
	sdk  *sdk.Client
	http http.RoundTripper
}

func start(t *testing.T, topology string) *world {
	t.Helper()
	s, err := sim.New(sim.Options{Topology: topology})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	})
	w := &world{T: t, sim: s, http: s.Transport("n1")}
	w.sdk = sdk.New(sdk.Options{HTTPClient: &http.Client{Transport: w.http}, EnableFallback: aws.FalseTernary})
	return w
}

// get reads a path through the SDK; a refusal is "404" and the like.
func (w *world) get(path string) string {
	w.Helper()
	out, err := w.sdk.GetMetadata(w.Context(), &sdk.GetMetadataInput{Path: path})
	var status interface{ HTTPStatusCode() int }
	if errors.As(err, &status) {
		return fmt.Sprint(status.HTTPStatusCode())
	}
	if err != nil {
		w.Fatalf("%s: %v", path, err)
	}
	defer out.Content.Close() //nolint:errcheck // read to its end
	text, err := io.ReadAll(out.Content)
	if err != nil {
		w.Fatal(err)
	}
	return string(text)
}

// ask sends a request as given and returns status and body.
func (w *world) ask(method, path string, header map[string]string) (int, string, http.Header) {
	w.Helper()
	req, err := http.NewRequestWithContext(w.Context(), method, "http://169.254.169.254"+path, nil)
	if err != nil {
		w.Fatal(err)
	}
	for k, v := range header {
		req.Header.Set(k, v)
	}
	resp, err := w.http.RoundTrip(req)
	if err != nil {
		w.Fatal(err)
	}
	defer resp.Body.Close() //nolint:errcheck // read to its end
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		w.Fatal(err)
	}
	return resp.StatusCode, string(body), resp.Header
}

func (w *world) node() control.NodeStatus {
	w.Helper()
	s, err := w.sim.Control().Status(w.Context())
	if err != nil {
		w.Fatal(err)
	}
	return s.Nodes[0]
}

func (w *world) ec2() *ec2.Client {
	w.Helper()
	keys, err := w.sim.Credentials("n1")
	if err != nil {
		w.Fatal(err)
	}
	return ec2.New(ec2.Options{
		Region: "us-west-2", BaseEndpoint: aws.String("http://ec2.sim"), HTTPClient: &http.Client{Transport: w.http},
		Credentials: credentials.NewStaticCredentialsProvider(keys.AccessKeyID, keys.SecretAccessKey, keys.Token),
	})
}

// add attaches a second ENI to n1.
func (w *world) add(change func(*ec2.CreateNetworkInterfaceInput)) {
	w.Helper()
	client, subnet := w.ec2(), ""
	s, err := w.sim.Control().Status(w.Context())
	if err != nil {
		w.Fatal(err)
	}
	subnet = s.Subnets[0].ID
	in := &ec2.CreateNetworkInterfaceInput{SubnetId: &subnet}
	change(in)
	out, err := client.CreateNetworkInterface(w.Context(), in)
	if err != nil {
		w.Fatal(err)
	}
	_, err = client.AttachNetworkInterface(w.Context(), &ec2.AttachNetworkInterfaceInput{
		NetworkInterfaceId: out.NetworkInterface.NetworkInterfaceId, InstanceId: aws.String(w.sim.Instance("n1")), DeviceIndex: aws.Int32(1),
	})
	if err != nil {
		w.Fatal(err)
	}
}

func lines(values ...string) string { return strings.Join(values, "\n") }

func TestPaths(t *testing.T) {
	w := start(t, `{profile: none, vpc: {secondaryCIDRs: [100.64.0.0/16]}, nodes: [{name: n1, subnet: a, tags: {Name: one}, metadata: {instanceTags: true}}]}`)
	w.add(func(in *ec2.CreateNetworkInterfaceInput) { in.SecondaryPrivateIpAddressCount = aws.Int32(2) })
	n := w.node()
	p, s := n.Interfaces[0], n.Interfaces[1]
	host := "ip-" + strings.ReplaceAll(p.Addresses[0].String(), ".", "-") + ".us-west-2.compute.internal"
	macs := []string{p.MAC + "/", s.MAC + "/"}
	slices.Sort(macs)
	first, second := "network/interfaces/macs/"+p.MAC+"/", "network/interfaces/macs/"+s.MAC+"/"
	tests := map[string]string{
		"placement/availability-zone":     "us-west-2a",
		"placement/availability-zone-id":  "usw2-az1",
		"placement/region":                "us-west-2",
		"placement":                       lines("availability-zone", "availability-zone-id", "region"),
		"local-ipv4":                      p.Addresses[0].String(),
		"ipv6":                            "404",
		"instance-id":                     n.InstanceID,
		"instance-type":                   "m5.large",
		"mac":                             p.MAC,
		"mac/":                            p.MAC,
		"hostname":                        host,
		"local-hostname":                  host,
		"public-ipv4":                     p.Public[p.Addresses[0].String()],
		"security-groups":                 "default",
		"services/domain":                 "amazonaws.com",
		"tags/instance/":                  "Name",
		"tags/instance/Name":              "one",
		"iam/security-credentials/":       "vpcsim-node",
		"iam/":                            lines("info", "security-credentials/"),
		"network/interfaces/macs/":        lines(macs...),
		"network/interfaces/macs":         lines(macs...),
		"network/":                        "interfaces/",
		"nothing":                         "404",
		"network/interfaces/macs/02:00/":  "404",
		first + "interface-id":            p.ID,
		first + "device-number":           "0",
		first + "network-card":            "404",
		first + "mac":                     p.MAC,
		first + "owner-id":                "123456789012",
		first + "local-ipv4s":             p.Addresses[0].String(),
		first + "public-ipv4s":            p.Public[p.Addresses[0].String()],
		first + "ipv4-associations/":      p.Public[p.Addresses[0].String()],
		first + "subnet-ipv4-cidr-block":  "10.0.0.0/24",
		first + "subnet-ipv6-cidr-blocks": "404",
		first + "vpc-ipv4-cidr-block":     "10.0.0.0/16",
		first + "vpc-ipv4-cidr-blocks":    lines("10.0.0.0/16", "100.64.0.0/16"),
		first + "vpc-ipv6-cidr-blocks":    "404",
		first + "ipv6s":                   "404",
		first + "ipv4-prefix":             "404",
		first + "ipv6-prefix":             "404",
		second + "device-number":          "1",
		second + "local-ipv4s":            lines(s.Addresses[0].String(), s.Addresses[1].String(), s.Addresses[2].String()),
		second + "public-ipv4s":           "404",
		second: lines("device-number", "interface-id", "local-hostname", "local-ipv4s", "mac", "owner-id", "security-group-ids",
			"security-groups", "subnet-id", "subnet-ipv4-cidr-block", "vpc-id", "vpc-ipv4-cidr-block", "vpc-ipv4-cidr-blocks"),
	}
	for path, want := range tests {
		if diff := cmp.Diff(want, w.get(path)); diff != "" {
			t.Errorf("%s (-want +got)\n%s", path, diff)
		}
	}
	if got := w.get(first + "security-group-ids"); !strings.HasPrefix(got, "sg-") {
		t.Errorf("security-group-ids %q", got)
	}
}

// TestPathsOfPrefixesAndIPv6 holds what appears only where an interface has it.
func TestPathsOfPrefixesAndIPv6(t *testing.T) {
	w := start(t, `{profile: none, vpc: {ipv6CIDRs: ["2001:db8::/56"]}, subnets: [{name: a, cidr: 10.0.0.0/24, ipv6CIDR: "2001:db8::/64"}], nodes: [{name: n1, subnet: a, type: p4d.24xlarge, publicIP: false}]}`)
	w.add(func(in *ec2.CreateNetworkInterfaceInput) {
		in.Ipv4PrefixCount, in.Ipv6PrefixCount = aws.Int32(2), aws.Int32(1)
	})
	p, s := w.node().Interfaces[0], w.node().Interfaces[1]
	mac := "network/interfaces/macs/" + s.MAC + "/"
	tests := map[string]string{
		"ipv6":                          p.Addresses[1].String(),
		"public-ipv4":                   "404",
		"tags/instance/":                "404",
		mac + "local-ipv4s":             s.Addresses[0].String(),
		mac + "ipv4-prefix":             lines(s.Prefixes[0].String(), s.Prefixes[1].String()),
		mac + "ipv6-prefix":             s.Prefixes[2].String(),
		mac + "subnet-ipv6-cidr-blocks": "2001:db8::/64",
		mac + "vpc-ipv6-cidr-blocks":    "2001:db8::/56",
		mac + "vpc-ipv4-cidr-blocks":    "10.0.0.0/16",
	}
	for path, want := range tests {
		if diff := cmp.Diff(want, w.get(path)); diff != "" {
			t.Errorf("%s (-want +got)\n%s", path, diff)
		}
	}
}

func TestDocumentAndRole(t *testing.T) {
	w := start(t, "region: eu-west-1")
	document, err := w.sdk.GetInstanceIdentityDocument(t.Context(), nil)
	if err != nil {
		t.Fatal(err)
	}
	n := w.node()
	if document.Region != "eu-west-1" || document.InstanceID != n.InstanceID || document.PrivateIP != n.Interfaces[0].Addresses[0].String() ||
		document.AccountID != "123456789012" || document.InstanceType != "m5.large" || document.Version != "2017-09-30" || document.PendingTime.IsZero() {
		t.Errorf("document %+v", document)
	}
	region, err := w.sdk.GetRegion(t.Context(), nil)
	if err != nil || region.Region != "eu-west-1" {
		t.Errorf("region %v, %v", region, err)
	}
	var role struct{ Code, Type, AccessKeyID, SecretAccessKey, Token, Expiration string }
	if err := json.Unmarshal([]byte(w.get("iam/security-credentials/vpcsim-node")), &role); err != nil {
		t.Fatal(err)
	}
	if ends, err := time.Parse(time.RFC3339, role.Expiration); err != nil || time.Until(ends) < time.Hour || role.AccessKeyID != n.AccessKey || role.Code != "Success" {
		t.Errorf("role %+v: %v", role, err)
	}
}

func TestTokens(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := start(t, "{nodes: [{name: n1, subnet: a}, {name: n2, subnet: a, metadata: {httpTokens: optional}}, {name: n3, subnet: a, metadata: {httpEndpoint: disabled}}]}")
		const tokenPath, ttl = "/latest/api/token", "X-aws-ec2-metadata-token-ttl-seconds"
		status, token, header := w.ask("PUT", tokenPath, map[string]string{ttl: "60"})
		if status != 200 || !strings.HasSuffix(token, "==") || header.Get(ttl) != "60" {
			t.Fatalf("token: %d %q %v", status, token, header)
		}
		auth := map[string]string{"X-aws-ec2-metadata-token": token}
		tests := []struct {
			name, method, path string
			header             map[string]string
			want               int
		}{
			{"no TTL", "PUT", tokenPath, nil, 400},
			{"TTL 0", "PUT", tokenPath, map[string]string{ttl: "0"}, 400},
			{"TTL too long", "PUT", tokenPath, map[string]string{ttl: "21601"}, 400},
			{"longest TTL", "PUT", tokenPath, map[string]string{ttl: "21600"}, 200},
			{"forwarded", "PUT", tokenPath, map[string]string{ttl: "60", "X-Forwarded-For": "10.0.0.1"}, 403},
			{"GET of a token", "GET", tokenPath, auth, 405},
			{"no token", "GET", "/latest/meta-data/mac", nil, 401},
			{"wrong token", "GET", "/latest/meta-data/mac", map[string]string{"X-aws-ec2-metadata-token": "x"}, 401},
			{"token", "GET", "/latest/meta-data/mac", auth, 200},
			{"HEAD", "HEAD", "/latest/meta-data/mac", auth, 200},
			{"POST", "POST", "/latest/meta-data/mac", auth, 405},
			{"missing", "GET", "/latest/user-data", auth, 404},
			{"listing", "GET", "/latest", auth, 200},
			{"doubled slash", "GET", "/latest/meta-data//mac", auth, 200},
		}
		for _, tt := range tests {
			status, body, _ := w.ask(tt.method, tt.path, tt.header)
			if status != tt.want {
				t.Errorf("%s: %d, want %d", tt.name, status, tt.want)
			}
			if title := fmt.Sprintf("<title>%d - %s</title>", tt.want, http.StatusText(tt.want)); tt.want >= 400 && !strings.Contains(body, title) {
				t.Errorf("%s: the page has no %s:\n%s", tt.name, title, body)
			}
		}
		if _, body, _ := w.ask("GET", "/latest/", auth); body != "dynamic\nmeta-data" {
			t.Errorf("/latest/ lists %q", body)
		}
		w.http = w.sim.Transport("n2")
		if status, _, _ := w.ask("GET", "/latest/meta-data/mac", nil); status != 200 {
			t.Errorf("version 1 where tokens are optional: %d", status)
		}
		if status, _, _ := w.ask("GET", "/latest/meta-data/mac", auth); status != 401 {
			t.Errorf("n1's token on n2: %d", status)
		}
		w.http = w.sim.Transport("n3")
		if status, _, _ := w.ask("PUT", tokenPath, map[string]string{ttl: "60"}); status != 403 {
			t.Errorf("disabled service: %d", status)
		}
		w.http = w.sim.Transport("n1")
		time.Sleep(time.Minute)
		if status, _, _ := w.ask("GET", "/latest/meta-data/mac", auth); status != 401 {
			t.Errorf("expired token: %d", status)
		}
	})
}

// TestDroppedTokens holds that the SDK survives a restart of the service.
func TestDroppedTokens(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := start(t, "profile: none")
		want := w.get("mac")
		if err := w.sim.Control().DropTokens(t.Context()); err != nil {
			t.Fatal(err)
		}
		if got := w.get("mac"); got != want {
			t.Errorf("after the restart %q, want %q", got, want)
		}
	})
}

// TestLags holds that the MAC, then the addresses appear, each in its time.
func TestLags(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := start(t, "{profile: none, nodes: [{name: n1, subnet: a}], delays: {imdsMAC: 300ms, imdsAddresses: 800ms}}")
		w.get("mac") // fetch a token now
		w.add(func(in *ec2.CreateNetworkInterfaceInput) { in.SecondaryPrivateIpAddressCount = aws.Int32(3) })
		s := w.node().Interfaces[1]
		began := time.Now()
		var got []string
		for _, at := range []int{0, 299, 300, 799, 800} {
			time.Sleep(time.Until(began.Add(time.Duration(at) * time.Millisecond)))
			text := w.get("network/interfaces/macs/" + s.MAC + "/local-ipv4s")
			if text != "404" {
				text = fmt.Sprint(1 + strings.Count(text, "\n"))
			}
			got = append(got, fmt.Sprintf("%d: %s", at, text))
		}
		if diff := cmp.Diff([]string{"0: 404", "299: 404", "300: 1", "799: 1", "800: 4"}, got); diff != "" {
			t.Errorf("number of local-ipv4s (-want +got)\n%s", diff)
		}
	})
}

func TestFaults(t *testing.T) {
	rule := func(action string, e control.Effect) control.Rule { return control.Rule{Action: action, Effect: e} }
	tests := []struct {
		name string
		rule control.Rule
		path string
		want string
	}{
		{"status on a path", rule("/latest/meta-data/*/ipv4-prefix", control.Effect{Error: &control.Error{Status: 500}}), "network/interfaces/macs/x/ipv4-prefix", "500"},
		{"other paths go on", rule("/latest/meta-data/mac", control.Effect{Error: &control.Error{Status: 404}}), "instance-type", "m5.large"},
		{"missing path", rule("/latest/meta-data/mac", control.Effect{Error: &control.Error{Status: 404}}), "mac", "404"},
		{"no credentials", rule("/latest/meta-data/iam/*", control.Effect{Error: &control.Error{Status: 404}}), "iam/security-credentials/", "404"},
		{"code of EC2", rule("/latest/meta-data/mac", control.Effect{Error: &control.Error{Code: "InternalError"}}), "mac", "500"},
		{"throttle", rule("/latest/meta-data/mac", control.Effect{Throttle: true}), "mac", "503"},
		{"html", rule("/latest/meta-data/mac", control.Effect{HTML502: true}), "mac", "502"},
		{"slow", rule("IMDS", control.Effect{Latency: span.Duration(time.Second)}), "instance-type", "m5.large"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				w := start(t, "profile: none")
				if _, err := w.sim.Control().AddFaults(t.Context(), tt.rule); err != nil {
					t.Fatal(err)
				}
				if got := w.get(tt.path); got != tt.want {
					t.Errorf("%q, want %q", got, tt.want)
				}
			})
		})
	}
}

// TestNoAnswer holds the faults that leave a client without a whole answer.
func TestNoAnswer(t *testing.T) {
	for name, effect := range map[string]control.Effect{
		"hang": {Hang: true}, "reset": {Reset: true}, "lost": {Lost: true}, "truncated": {Truncate: true},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				w := start(t, "profile: none")
				if _, err := w.sim.Control().AddFaults(t.Context(), control.Rule{Action: "/latest/meta-data/mac", Effect: effect}); err != nil {
					t.Fatal(err)
				}
				out, err := w.sdk.GetMetadata(t.Context(), &sdk.GetMetadataInput{Path: "mac"})
				if err == nil {
					_, err = io.ReadAll(out.Content)
				}
				if err == nil {
					t.Error("the request succeeded")
				}
			})
		})
	}
}

// TestReadLag makes the whole service late for one node.
func TestReadLag(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := start(t, "profile: none")
		time.Sleep(time.Hour)
		w.add(func(*ec2.CreateNetworkInterfaceInput) {})
		if n := strings.Count(w.get("network/interfaces/macs/"), "/"); n != 2 {
			t.Fatalf("%d MACs", n)
		}
		late := control.Rule{Node: "n1", Action: "IMDS", Effect: control.Effect{IMDSLag: span.Duration(10 * time.Second)}}
		if _, err := w.sim.Control().AddFaults(t.Context(), late); err != nil {
			t.Fatal(err)
		}
		if n := strings.Count(w.get("network/interfaces/macs/"), "/"); n != 1 {
			t.Errorf("%d MACs ten seconds ago, want 1", n)
		}
		time.Sleep(10 * time.Second)
		if n := strings.Count(w.get("network/interfaces/macs/"), "/"); n != 2 {
			t.Errorf("%d MACs ten seconds later, want 2", n)
		}
	})
}
