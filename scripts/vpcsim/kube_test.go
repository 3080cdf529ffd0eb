package main

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"sigs.k8s.io/yaml"

	"github.com/causeway-cni/causeway/scripts/vpcsim/control"
)

const twoObjects = `
kind: Service
metadata: {name: web}
spec: {type: NodePort, ports: [{port: 80, nodePort: 30080}]}
---
kind: EndpointSlice
metadata: {name: web-1, labels: {kubernetes.io/service-name: web}}
addressType: IPv4
endpoints: [{addresses: [10.0.0.77], nodeName: n1}]
ports: [{port: 8080}]
`

// TestKube uses the cluster's API from the command line, from nodes and from
// the router, while it is there and while it is away.
func TestKube(t *testing.T) {
	s := raise(t, "kube", "")
	file := filepath.Join(t.TempDir(), "objects.yaml")
	if err := os.WriteFile(file, []byte(twoObjects), 0o600); err != nil {
		t.Fatal(err)
	}
	if out := s.must("kube", "apply", "-f", file); out != "service default/web\nendpointslice default/web-1\n" {
		t.Errorf("apply says\n%s", out)
	}
	if out := s.must("kube", "get", "svc"); !strings.Contains(out, "NodePort 10.100.0.1 80:30080/TCP") {
		t.Errorf("services:\n%s", out)
	}
	if out := s.must("kube", "get", "nodes"); !strings.Contains(out, "InternalIP="+s.status().Nodes[0].Address.String()) {
		t.Errorf("nodes:\n%s", out)
	}
	if out := s.must("status"); !strings.Contains(out, "kubernetes http://10.0.0.3 ") {
		t.Errorf("status does not show the Kubernetes API:\n%s", out)
	}
	for place, script := range map[string]string{
		"n1":     `curl -sS $CLUSTER_ENDPOINT/api/v1/nodes/$MY_NODE_NAME; grep server: $KUBECONFIG`,
		"n2":     `curl -sS $CLUSTER_ENDPOINT/api/v1/nodes/$MY_NODE_NAME; grep server: $KUBECONFIG`,
		"router": `curl -sS http://10.0.0.3/api/v1/nodes/n1; grep server: $KUBECONFIG`,
	} {
		out := s.shell(place, script)
		if !strings.Contains(out, `"topology.kubernetes.io/zone":"us-west-2`) || !strings.Contains(out, `server: "http://10.0.0.3"`) {
			t.Errorf("%s sees\n%s", place, out)
		}
	}

	s.must("fault", "add", "{node: n1, action: Kubernetes, effect: {away: true}}")
	if out, code := s.run("exec", "n1", "--", "curl", "-sS", "http://10.0.0.3/readyz"); code == 0 {
		t.Errorf("an API that is away says %s", out)
	}
	if out := s.shell("n2", "curl -sS http://10.0.0.3/readyz"); out != "ok" {
		t.Errorf("the API says %q to another node", out)
	}
	s.must("fault", "clear")

	s.must("kube", "delete", "service", "web")
	if out := s.must("kube", "get", "services", "-o", "json"); out != "[]\n" {
		t.Errorf("after delete: %s", out)
	}
	s.must("terminate", "n2")
	s.eventually("the Node of a terminated instance is gone", func() bool {
		return !strings.Contains(s.must("kube", "get", "nodes"), "n2")
	})
	for problem, args := range map[string][]string{
		`kind "secret" is unknown`: {"get", "secret"},
		`"web" not found`:          {"delete", "service", "default/web"},
		"no object given":          {"apply"},
		`output "x"`:               {"get", "nodes", "-o", "x"},
	} {
		if out, code := s.run(append([]string{"kube"}, args...)...); code != 1 || !strings.Contains(out, problem) {
			t.Errorf("kube %v: exit code %d, %q, want %q", args, code, out, problem)
		}
	}
}

func TestParseObjects(t *testing.T) {
	got, err := parseObjects([]byte("---\n{kind: A}\n---\n# nothing\n---\nkind: List\nitems: [{kind: B}, {kind: C}]\n"))
	want := []control.Object{{"kind": "A"}, {"kind": "B"}, {"kind": "C"}}
	if diff := cmp.Diff(want, got); diff != "" || err != nil {
		t.Errorf("(-want +got)\n%s%v", diff, err)
	}
	for _, bad := range []string{"", "[", "{kind: List, items: [1]}"} {
		if _, err := parseObjects([]byte(bad)); err == nil {
			t.Errorf("%q was accepted", bad)
		}
	}
}

func TestAbout(t *testing.T) {
	for _, test := range []struct{ object, want string }{
		{`{kind: Pod, spec: {nodeName: n1}, status: {phase: Running, podIP: 10.0.0.9}}`, "n1 Running 10.0.0.9"},
		{`{kind: Pod, spec: {}, status: {phase: Pending}}`, "Pending"},
		{`{kind: ENIConfig, spec: {subnet: subnet-1, securityGroups: [sg-1, sg-2]}}`, "subnet-1 sg-1 sg-2"},
		{`{kind: Event, involvedObject: {kind: Pod, name: web-0}, reason: SubnetFull, count: 2, message: no address is left}`,
			"Pod web-0 SubnetFull x2 no address is left"},
		{`{kind: Namespace}`, ""},
	} {
		var o control.Object
		if err := yaml.Unmarshal([]byte(test.object), &o); err != nil {
			t.Fatal(err)
		}
		if got := about(o); got != test.want {
			t.Errorf("%s is shown as %q, want %q", test.object, got, test.want)
		}
	}
}
