package kube

import (
	"bytes"

	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	"sigs.k8s.io/yaml"
)

// What the chart has: its definitions, and its templates as rendered.
const (
	chart    = "../../../config/chart"
	rendered = "../testdata/chart.yaml"
)

// manifest reads one document of a file of the chart.
func manifest(t *testing.T, file, kind string, into any) {
	t.Helper()
	data, err := os.ReadFile(filepath.Join(chart, file))
	if err != nil {
		t.Fatal(err)
	}
	for document := range bytes.SplitSeq(data, []byte("\n---\n")) {
		var head struct{ Kind string }
		if err := yaml.Unmarshal(document, &head); err != nil {
			t.Fatalf("%s: %v", file, err)
		}
		if head.Kind == kind {
			if err := yaml.UnmarshalStrict(document, into); err != nil {
				t.Fatalf("%s: %s: %v", file, kind, err)
			}
			return
		}
	}
	t.Fatalf("%s has no %s", file, kind)
}

// TestRoleAllowsWhatIsDone compares the role with what the daemon asks of an
// API: it may do all of that, and nothing else.
func TestRoleAllowsWhatIsDone(t *testing.T) {
	var role rbacv1.ClusterRole
	manifest(t, rendered, "ClusterRole", &role)
	var allowed []string
	for _, rule := range role.Rules {
		for _, group := range rule.APIGroups {
			for _, resource := range rule.Resources {
				for _, verb := range rule.Verbs {
					allowed = append(allowed, verb+" "+resource+"."+group)
				}
			}
		}
	}
	slices.Sort(allowed)

	done := map[string]bool{}
	for _, streams := range []bool{true, false} {
		a := newAPI(t)
		a.streams = streams
		w, stop := follow(t, a, func(c *Client) { c.grace = time.Millisecond }) // there is no Node: it is searched for
		p := followNode(t, a, nil)
		c, _ := reporting(t, a, 1)
		for _, count := range []string{"x1", "x2"} {
			c.Report(Event{About: aboutPod("a"), Reason: "SubnetFull"})
			eventually(t, "an event "+count, func() bool { return strings.Contains(strings.Join(a.written(), " "), count) })
		}
		w.eventuallySynced(t)
		p.eventuallySynced(t)
		stop()
		a.mu.Lock()
		for _, r := range a.requests {
			done[action(r)] = true
		}
		a.mu.Unlock()
	}
	var want []string
	for each := range done {
		want = append(want, each)
	}
	slices.Sort(want)
	if diff := cmp.Diff(want, allowed); diff != "" {
		t.Errorf("what is done and what is allowed (-done +allowed)\n%s", diff)
	}
}

// action is a request as a role has it: "list pods.", "watch eniconfigs.crd.k8s.amazonaws.com".
func action(r *http.Request) string {
	words := strings.Split(strings.Trim(r.URL.Path, "/"), "/")
	group, rest := "", words[2:]
	if words[0] == "apis" {
		group, rest = words[1], words[3:]
	}
	if rest[0] == "namespaces" {
		rest = rest[2:]
	}
	verb := map[string]string{http.MethodGet: "list", http.MethodPost: "create", http.MethodPatch: "patch"}[r.Method]
	switch {
	case r.URL.Query().Get("watch") != "":
		verb = "watch"
	case r.Method == http.MethodGet && len(rest) > 1:
		verb = "get"
	}
	return verb + " " + rest[0] + "." + group
}

func TestRoleIsBound(t *testing.T) {
	var account corev1.ServiceAccount
	var role rbacv1.ClusterRole
	var binding rbacv1.ClusterRoleBinding
	manifest(t, rendered, "ServiceAccount", &account)
	manifest(t, rendered, "ClusterRole", &role)
	manifest(t, rendered, "ClusterRoleBinding", &binding)
	want := rbacv1.Subject{Kind: "ServiceAccount", Name: account.Name, Namespace: account.Namespace}
	if !slices.Equal(binding.Subjects, []rbacv1.Subject{want}) || binding.RoleRef.Name != role.Name || binding.RoleRef.Kind != role.Kind {
		t.Errorf("role %s is bound as %+v", role.Name, binding)
	}
}

// TestDefinitionIsOfWhatIsRead holds the definition of ENIConfigs together with
// what we read, and with the names that clusters have from aws-node.
func TestDefinitionIsOfWhatIsRead(t *testing.T) {
	type property struct {
		Properties map[string]struct{ Type string }
	}
	var definition struct {
		APIVersion, Kind string
		Metadata         struct{ Name string }
		Spec             struct {
			Group, Scope string
			Names        struct{ Plural, Singular, Kind, ListKind string }
			Versions     []struct {
				Name            string
				Served, Storage bool
				Schema          struct {
					OpenAPIV3Schema struct {
						Type       string
						Open       bool `json:"x-kubernetes-preserve-unknown-fields"`
						Properties map[string]property
					}
				}
			}
		}
	}
	data, err := os.ReadFile(filepath.Join(chart, "crds/eniconfigs.crd.k8s.amazonaws.com.yaml"))
	if err != nil {
		t.Fatal(err)
	}
	if err := yaml.Unmarshal(data, &definition); err != nil {
		t.Fatal(err)
	}
	s := definition.Spec
	if len(s.Versions) != 1 {
		t.Fatalf("%d versions, want one", len(s.Versions))
	}
	v := s.Versions[0]
	got := []string{definition.APIVersion, definition.Kind, definition.Metadata.Name, s.Group, s.Scope,
		s.Names.Plural, s.Names.Singular, s.Names.Kind, s.Names.ListKind, v.Name}
	want := []string{"apiextensions.k8s.io/v1", "CustomResourceDefinition", "eniconfigs.crd.k8s.amazonaws.com", eniConfigs.Group, "Cluster",
		"eniconfigs", "eniconfig", "ENIConfig", "ENIConfigList", eniConfigs.Version}
	if diff := cmp.Diff(want, got); diff != "" || !v.Served || !v.Storage {
		t.Errorf("served: %v, stored: %v; names (-want +got)\n%s", v.Served, v.Storage, diff)
	}
	schema := v.Schema.OpenAPIV3Schema
	spec := schema.Properties["spec"].Properties
	if schema.Type != "object" || !schema.Open || len(spec) != 2 || spec["subnet"].Type != "string" || spec["securityGroups"].Type != "array" {
		t.Errorf("schema: %+v", schema)
	}
}

// TestENIConfigOfAwsNode reads an object as aws-node's documentation has it.
func TestENIConfigOfAwsNode(t *testing.T) {
	var o eniConfig
	err := yaml.Unmarshal([]byte(`
apiVersion: crd.k8s.amazonaws.com/v1alpha1
kind: ENIConfig
metadata:
  name: us-east-1a
spec:
  subnet: subnet-0123456789abcdef0
  securityGroups:
    - sg-0123456789abcdef0
`), &o)
	if err != nil {
		t.Fatal(err)
	}
	got := toENIConfig(&o)
	if got.Name != "us-east-1a" || got.Subnet != "subnet-0123456789abcdef0" || !slices.Equal(got.SecurityGroups, []string{"sg-0123456789abcdef0"}) {
		t.Errorf("read %+v", got)
	}
}
