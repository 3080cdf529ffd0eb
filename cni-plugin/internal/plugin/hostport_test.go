package plugin

import (
	"encoding/json"
	"strings"
	"testing"

	"github.com/containernetworking/cni/pkg/types"
	"github.com/google/go-cmp/cmp"
	"google.golang.org/protobuf/testing/protocmp"

	"github.com/causeway-cni/causeway/rpc"
)

func TestHostPortsRead(t *testing.T) {
	for _, test := range []struct {
		name, text string
		want       []*rpc.PortMapping
		says       string // of the refusal
	}{
		{"none", ``, nil, ""},
		{"null", `null`, nil, ""},
		{"one", `[{"hostPort": 8080, "containerPort": 80, "protocol": "tcp"}]`, []*rpc.PortMapping{{HostPort: 8080, ContainerPort: 80, Protocol: "tcp"}}, ""},
		{"no protocol", `[{"hostPort": 8080, "containerPort": 80}]`, []*rpc.PortMapping{{HostPort: 8080, ContainerPort: 80, Protocol: "tcp"}}, ""},
		{"as the API writes it", `[{"hostPort": 53, "containerPort": 53, "protocol": "UDP"}]`, []*rpc.PortMapping{{HostPort: 53, ContainerPort: 53, Protocol: "udp"}}, ""},
		{"host port 0 is skipped", `[{"hostPort": 0, "containerPort": 0, "protocol": "x"}]`, nil, ""},
		{"twice", `[{"hostPort": 1, "containerPort": 2}, {"hostPort": 1, "containerPort": 2, "hostIP": "0.0.0.0"}]`, []*rpc.PortMapping{{HostPort: 1, ContainerPort: 2, Protocol: "tcp"}}, ""},
		{"all addresses", `[{"hostPort": 1, "containerPort": 2, "protocol": "sctp", "hostIP": "::"}]`, []*rpc.PortMapping{{HostPort: 1, ContainerPort: 2, Protocol: "sctp"}}, ""},
		{"one address", `[{"hostPort": 1, "containerPort": 2, "hostIP": "2001:DB8::1"}]`, []*rpc.PortMapping{{HostPort: 1, ContainerPort: 2, Protocol: "tcp", HostIp: "2001:db8::1"}}, ""},
		{"host port", `[{"hostPort": 65536, "containerPort": 80}]`, nil, "portMappings[0].hostPort is 65536; want 1-65535"},
		{"container port", `[{"hostPort": 1, "containerPort": 2}, {"hostPort": 8080}]`, nil, "portMappings[1].containerPort is 0; want 1-65535"},
		{"protocol", `[{"hostPort": 1, "containerPort": 2, "protocol": "icmp"}]`, nil, `protocol is "icmp"; want tcp, udp or sctp`},
		{"host IP", `[{"hostPort": 1, "containerPort": 2, "hostIP": "here"}]`, nil, `hostIP is "here"; want an IP address`},
		{"no list", `{"hostPort": 1}`, nil, "want a list"},
	} {
		t.Run(test.name, func(t *testing.T) {
			got, err := hostPorts(json.RawMessage(test.text))
			if (err != nil) != (test.says != "") || err != nil && !strings.Contains(err.Error(), test.says) {
				t.Errorf("got %v, want an error that says %q", err, test.says)
			}
			if diff := cmp.Diff(test.want, got, protocmp.Transform()); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
		})
	}
}

func FuzzHostPorts(f *testing.F) {
	f.Add([]byte(`[{"hostPort": 8080, "containerPort": 80, "protocol": "tcp", "hostIP": "192.0.2.1"}]`))
	f.Fuzz(func(t *testing.T, text []byte) {
		ports, _ := hostPorts(text)
		for _, p := range ports {
			if p.GetHostPort()-1 >= 1<<16-1 || p.GetContainerPort()-1 >= 1<<16-1 {
				t.Errorf("%s gives %v", text, p)
			}
		}
	})
}

func portConf(mappings string) map[string]any {
	return map[string]any{"capabilities": map[string]bool{"portMappings": true}, "runtimeConfig": map[string]any{"portMappings": json.RawMessage(mappings)}}
}

// TestHostPortsGoWithTheCall holds that ADD sends host ports, that CHECK
// compares them, and that DEL does not care.
func TestHostPortsGoWithTheCall(t *testing.T) {
	w := newWorld(t)
	one, other := portConf(`[{"hostPort": 8080, "containerPort": 80, "protocol": "tcp"}]`), portConf(`[{"hostPort": 8081, "containerPort": 80, "protocol": "tcp"}]`)
	broken := portConf(`[{"hostPort": "http"}]`)
	_, err := w.call(w.plugin.add, "c1", broken)
	wantCode(t, err, types.ErrInvalidNetworkConfig, "runtimeConfig.portMappings")
	if w.prev, err = w.call(w.plugin.add, "c1", one); err != nil {
		t.Fatal(err)
	}
	want := []*rpc.PortMapping{{HostPort: 8080, ContainerPort: 80, Protocol: "tcp"}}
	if diff := cmp.Diff(want, w.daemon.held["c1"].GetPortMappings(), protocmp.Transform()); diff != "" {
		t.Errorf("ipamd got (-want +got):\n%s", diff)
	}
	if _, err := w.call(w.plugin.check, "c1", one); err != nil {
		t.Error(err)
	}
	_, err = w.call(w.plugin.check, "c1", other)
	wantCode(t, err, types.ErrInternal, "does not hold host port 8081/tcp to 80", "holds host port 8080/tcp to 80")
	if _, err := w.call(w.plugin.del, "c1", broken); err != nil || len(w.daemon.held) > 0 {
		t.Errorf("DEL: %v; still held: %v", err, w.daemon.held)
	}
}

// TestOldDaemonGivesNoHostPorts holds that a pod is not started without the
// host ports that it asks for, and that its address goes back.
func TestOldDaemonGivesNoHostPorts(t *testing.T) {
	w := newWorld(t)
	w.daemon.old = true
	_, err := w.call(w.plugin.add, "c1", portConf(`[{"hostPort": 8080, "containerPort": 80, "protocol": "tcp"}]`))
	wantCode(t, err, types.ErrTryAgainLater, "host port 8080/tcp to 80")
	if len(w.daemon.held) > 0 {
		t.Errorf("still held: %v", w.daemon.held)
	}
	if _, err := w.call(w.plugin.add, "c1", nil); err != nil {
		t.Errorf("without host ports: %v", err)
	}
}
