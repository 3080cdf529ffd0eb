package release

import (
	"bytes"
	"flag"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	"sigs.k8s.io/yaml"

	"github.com/causeway-cni/causeway/config"
)

var update = flag.Bool("update", false, "write the rendered chart anew")

const endpoint = "env.CLUSTER_ENDPOINT=https://0123456789ABCDEF.gr7.eu-west-1.eks.amazonaws.com"

// TestRenderedChart holds the rendered chart, for review and for tests that need
// no Helm, to the chart.
func TestRenderedChart(t *testing.T) {
	got, err := Manifests(t.Context(), endpoint)
	if err != nil {
		t.Fatal(err)
	}
	golden := filepath.Join(sourceDir(), "config", "testdata", "chart.yaml")
	if *update {
		if err := os.WriteFile(golden, got, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(golden)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(string(want), string(got)); diff != "" {
		t.Errorf("%s; `go test ./scripts/release -update` writes it anew (-want +got):\n%s", golden, diff)
	}
}

// TestChartWithOtherValues renders what the default values do not reach.
func TestChartWithOtherValues(t *testing.T) {
	text, err := Manifests(t.Context(), endpoint, "env.DISABLE_METRICS=true", "env.CAUSEWAY_SWITCHES=/etc/off", "env.AWS_VPC_K8S_CNI_BACKING_STORE=/var/lib/aws/ipam.json",
		"image.digest=sha256:"+strings.Repeat("0a", 32), "image.repository=registry.example.com/causeway", "cni.binDir=/usr/libexec/cni",
		"serviceAccount.create=false", "serviceAccount.name=other", "podLabels.a=b", "imagePullSecrets[0].name=key")
	if err != nil {
		t.Fatal(err)
	}
	documents := decoded(t, text)
	if len(documents.accounts) > 0 || documents.bindings[0].Subjects[0].Name != "other" {
		t.Errorf("service accounts %v, bound is %v", documents.accounts, documents.bindings)
	}
	pod := documents.daemonSets[0].Spec.Template
	daemon := pod.Spec.Containers[0]
	if daemon.Image != "registry.example.com/causeway@sha256:"+strings.Repeat("0a", 32) || daemon.LivenessProbe != nil || daemon.ReadinessProbe != nil ||
		pod.Spec.ServiceAccountName != "other" || pod.Labels["a"] != "b" || pod.Spec.ImagePullSecrets[0].Name != "key" {
		t.Errorf("%+v", pod)
	}
	paths := map[string]string{}
	for _, v := range pod.Spec.Volumes {
		if v.HostPath != nil {
			paths[v.Name] = v.HostPath.Path
		}
	}
	if paths["cni-bin"] != "/usr/libexec/cni" || paths["aws-node"] != "/var/lib/aws" ||
		!slices.ContainsFunc(daemon.VolumeMounts, func(m corev1.VolumeMount) bool { return m.Name == "aws-node" && m.MountPath == "/var/lib/aws" }) ||
		!slices.ContainsFunc(daemon.VolumeMounts, func(m corev1.VolumeMount) bool { return m.Name == "switches" && m.MountPath == "/etc/off" }) {
		t.Errorf("volumes %v, mounts %v", paths, daemon.VolumeMounts)
	}
	if diff := cmp.Diff(map[string]string{"CLUSTER_ENDPOINT": strings.SplitN(endpoint, "=", 2)[1], "DISABLE_METRICS": "true",
		"AWS_VPC_K8S_CNI_BACKING_STORE": "/var/lib/aws/ipam.json", "CAUSEWAY_SWITCHES": "/etc/off"}, documents.maps[0].Data); diff != "" {
		t.Errorf("settings (-want +got):\n%s", diff)
	}
}

// TestChartRefuses what would come to light on the nodes only.
func TestChartRefuses(t *testing.T) {
	for name, tt := range map[string]struct {
		values []string
		want   string
	}{
		"no API server":           {nil, "env.CLUSTER_ENDPOINT is missing"},
		"an unknown setting":      {[]string{endpoint, "env.WARM_IP_TARGETS=3"}, "WARM_IP_TARGETS"},
		"a number":                {[]string{endpoint, "env.MAX_ENI=1000000"}, "got number, want string"},
		"off, which YAML negates": {[]string{"env.PROXY_MODE=false"}, "got boolean, want string"},
		"a setting of the chart":  {[]string{endpoint, "env.CAUSEWAY_HOST_ROOT=/"}, "CAUSEWAY_HOST_ROOT"},
		"an unknown value":        {[]string{endpoint, "tolerance=1"}, "tolerance"},
	} {
		if _, err := Manifests(t.Context(), tt.values...); err == nil || !strings.Contains(err.Error(), tt.want) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// TestPodGetsOnWithTheImage compares what the chart's pod is given with what
// the programs of the image know.
func TestPodGetsOnWithTheImage(t *testing.T) {
	text, err := os.ReadFile(filepath.Join(sourceDir(), "config", "testdata", "chart.yaml"))
	if err != nil {
		t.Fatal(err)
	}
	pod := decoded(t, text).daemonSets[0].Spec.Template.Spec
	daemon, install := pod.Containers[0], pod.InitContainers[0]
	for _, c := range []corev1.Container{daemon, install} {
		s := c.SecurityContext
		if len(c.Command) > 0 || !*s.ReadOnlyRootFilesystem || *s.AllowPrivilegeEscalation || s.Privileged != nil || !slices.Equal(s.Capabilities.Drop, []corev1.Capability{"ALL"}) {
			t.Errorf("%s: %q with %+v", c.Name, c.Command, s)
		}
		env := map[string]string{}
		for _, e := range c.Env {
			env[e.Name] = e.Value
		}
		env["PROXY_MODE"] = "off" // the API server is in the config map
		read, warnings, err := config.Load(func(name string) (string, bool) { value, ok := env[name]; return value, ok })
		if err != nil || len(warnings) > 0 {
			t.Errorf("%s: %q, error %v", c.Name, warnings, err)
		}
		mounts := map[string]bool{}
		for _, m := range c.VolumeMounts {
			mounts[m.MountPath] = true
		}
		want := []string{read.Host.Writable + "/proc/sys/net", config.StateDir, read.Host.ConfDir, filepath.Dir(read.Daemon.BackingStore), read.Daemon.Switches, "/run/xtables.lock"}
		if c.Name == install.Name {
			want = []string{read.Host.Writable + "/proc/sys/net", read.Host.Writable + "/sys/module", read.Host.BinDir}
		}
		slices.Sort(want)
		if diff := cmp.Diff(want, slices.Sorted(maps.Keys(mounts))); diff != "" {
			t.Errorf("%s: mounts (-want +got):\n%s", c.Name, diff)
		}
	}
	if !slices.Equal(daemon.SecurityContext.Capabilities.Add, Capabilities) {
		t.Errorf("the daemon is given %v, want %v", daemon.SecurityContext.Capabilities.Add, Capabilities)
	}
	if !slices.Equal(install.Args, []string{"install"}) || len(daemon.Args) > 0 || !pod.HostNetwork || pod.PriorityClassName != "system-node-critical" {
		t.Errorf("%+v", pod)
	}
}

// TestChartCleansUp gives nodes up: the pods have what clean-up needs of the node,
// and nothing of theirs wires pods any more.
func TestChartCleansUp(t *testing.T) {
	text, err := Manifests(t.Context(), endpoint, "cleanup=true", "env.PROXY_MODE=nftables")
	if err != nil {
		t.Fatal(err)
	}
	pod := decoded(t, text).daemonSets[0].Spec.Template.Spec
	if len(pod.InitContainers) != 1 || len(pod.Containers) != 1 || !slices.Equal(pod.InitContainers[0].Args, []string{"cleanup"}) || !slices.Equal(pod.Containers[0].Args, []string{"idle"}) {
		t.Fatalf("%+v", pod)
	}
	cleanup, idle := pod.InitContainers[0], pod.Containers[0]
	if !slices.Equal(cleanup.SecurityContext.Capabilities.Add, Capabilities) || len(idle.SecurityContext.Capabilities.Add)+len(idle.VolumeMounts) > 0 {
		t.Errorf("clean-up has %v; idle has %v and %v", cleanup.SecurityContext.Capabilities.Add, idle.SecurityContext.Capabilities.Add, idle.VolumeMounts)
	}
	env := map[string]string{"PROXY_MODE": "off"} // the API server is in the config map
	for _, e := range cleanup.Env {
		env[e.Name] = e.Value
	}
	read, warnings, err := config.Load(func(name string) (string, bool) { value, ok := env[name]; return value, ok })
	if err != nil || len(warnings) > 0 {
		t.Fatalf("%q, error %v", warnings, err)
	}
	var got []string
	for _, m := range cleanup.VolumeMounts {
		got = append(got, m.MountPath)
	}
	slices.Sort(got)
	want := []string{read.Host.ConfDir, read.Host.BinDir, config.StateDir, "/run/xtables.lock", filepath.Dir(read.Daemon.BackingStore)}
	slices.Sort(want)
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("mounts (-want +got):\n%s", diff)
	}
}

// documents are what a chart renders, of the kinds that are looked at.
type documents struct {
	daemonSets []appsv1.DaemonSet
	maps       []corev1.ConfigMap
	accounts   []corev1.ServiceAccount
	bindings   []rbacv1.ClusterRoleBinding
}

// decoded reads manifests, which may have no field that Kubernetes does not know.
func decoded(t *testing.T, text []byte) (d documents) {
	t.Helper()
	for document := range bytes.SplitSeq(text, []byte("---\n")) {
		var head struct{ Kind string }
		if err := yaml.Unmarshal(document, &head); err != nil {
			t.Fatalf("%v in %s", err, document)
		}
		switch head.Kind {
		case "DaemonSet":
			d.daemonSets = append(d.daemonSets, strict[appsv1.DaemonSet](t, document))
		case "ConfigMap":
			d.maps = append(d.maps, strict[corev1.ConfigMap](t, document))
		case "ServiceAccount":
			d.accounts = append(d.accounts, strict[corev1.ServiceAccount](t, document))
		case "ClusterRoleBinding":
			d.bindings = append(d.bindings, strict[rbacv1.ClusterRoleBinding](t, document))
		}
	}
	return d
}

func strict[T any](t *testing.T, document []byte) (object T) {
	t.Helper()
	if err := yaml.UnmarshalStrict(document, &object); err != nil {
		t.Fatalf("%v in %s", err, document)
	}
	return object
}
