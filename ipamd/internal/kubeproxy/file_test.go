package kubeproxy

import (
	"fmt"
	"net/netip"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"k8s.io/kube-proxy/config/v1alpha1"

	"github.com/causeway-cni/causeway/config"
)

const head = "apiVersion: kubeproxy.config.k8s.io/v1alpha1\nkind: KubeProxyConfiguration\n"

// TestFilesAsTheyAre has the files that EKS and kubeadm write.
func TestFilesAsTheyAre(t *testing.T) {
	for path, want := range map[string]Config{
		"testdata/eks.yaml": with(func(c *Config) {
			c.Kube.Kubeconfig, c.Proxy.MetricsAddr = "/var/lib/kube-proxy/kubeconfig", "0.0.0.0:10249"
		}),
		"testdata/kubeadm.yaml": with(func(c *Config) {
			c.Kube.Kubeconfig, c.Proxy.Pods.Blocks = "/var/lib/kube-proxy/kubeconfig.conf", prefixes("10.244.0.0/16")
		}),
	} {
		got, warnings, err := Load([]string{"--config", path})
		if err != nil || len(warnings) != 0 {
			t.Errorf("%s: warnings %q, error %v", path, warnings, err)
		}
		if diff := cmp.Diff(want, got, byValue); diff != "" {
			t.Errorf("%s (-want +got)\n%s", path, diff)
		}
	}
}

func TestFile(t *testing.T) {
	for body, want := range map[string]Config{
		"": usual(),
		"mode: nftables\nnftables: {masqueradeAll: true, masqueradeBit: 3, syncPeriod: 1m, minSyncPeriod: 2s}\niptables: {masqueradeBit: 5}": with(func(c *Config) {
			nftables(c)
			c.Proxy.MasqueradeAll, c.Proxy.MasqueradeBit, c.SyncPeriod, c.Proxy.Window = true, 3, time.Minute, 2*time.Second
		}),
		"mode: nftables\nnodePortAddresses: [10.0.0.0/8]": with(func(c *Config) {
			nftables(c)
			c.Proxy.NodePortAddrs = config.NodePortAddrs{Blocks: prefixes("10.0.0.0/8")}
		}),
		"bindAddress: fd00::4\nhostnameOverride: Here\nlogging: {verbosity: 5}": with(func(c *Config) {
			c.NodeAddr, c.Kube.NodeName, c.Verbosity = netip.MustParseAddr("fd00::4"), "here", 5
			c.Proxy.HealthAddr, c.Proxy.MetricsAddr = "[::]:10256", "[::1]:10249"
		}),
		"healthzBindAddress: 10.0.0.4\nmetricsBindAddress: fd00::4": with(func(c *Config) {
			c.Proxy.HealthAddr, c.Proxy.MetricsAddr = "10.0.0.4:10256", "[fd00::4]:10249"
		}),
		"detectLocalMode: InterfaceNamePrefix\ndetectLocal: {interfaceNamePrefix: eni}": with(func(c *Config) { c.Proxy.Pods.Link = "eni+" }),
	} {
		got, warnings, err := Load([]string{"--config", write(t, head+body)})
		if err != nil || len(warnings) != 0 {
			t.Errorf("%s: warnings %q, error %v", body, warnings, err)
		}
		if diff := cmp.Diff(want, got, byValue); diff != "" {
			t.Errorf("%s (-want +got)\n%s", body, diff)
		}
	}
}

func TestRefusedFiles(t *testing.T) {
	for content, want := range map[string][]string{
		"":                                                      {"apiVersion", "kubeproxy.config.k8s.io/v1alpha1"},
		"- a":                                                   {"KubeProxyConfiguration"},
		"apiVersion: v1\nkind: ConfigMap":                       {`"v1"`, `"ConfigMap"`, "kubeproxy.config.k8s.io/v1alpha1"},
		head + "mode: iptables\nmode: ipvs":                     {"mode"},
		head + "Mode: nftables":                                 {"field Mode", "nftables"},
		head + "iptables: {masqueradBit: 15}":                   {"iptables.masqueradBit", "15"},
		head + "iptables: {masqueradeBit: x}":                   {"masqueradeBit"},
		head + "iptables: {syncPeriod: fast}":                   {"iptables.syncPeriod", `"fast"`},
		head + "mode: ipvs\nipvs: {scheduler: rr}":              {`mode "ipvs"`, "iptables or nftables", `ipvs.scheduler "rr"`, "no ipvs mode"},
		head + "bindAddressHardFail: true":                      {`bindAddressHardFail "true"`, "false"},
		head + "windowsRunAsService: true":                      {`windowsRunAsService "true"`, "Linux"},
		head + "winkernel: {sourceVip: 1.2.3.4}":                {`winkernel.sourceVip "1.2.3.4"`},
		head + "mode: nftables\nnftables: {masqueradeBit: 32}":  {`nftables.masqueradeBit "32"`, "0 to 31"},
		head + "mode: nftables\nnftables: {minSyncPeriod: 1m}":  {`nftables.minSyncPeriod "1m0s"`},
		head + "iptables: {syncPeriod: -1s}":                    {`iptables.syncPeriod "-1s"`},
		head + "conntrack: {tcpCloseWaitTimeout: -1s}":          {`conntrack.tcpCloseWaitTimeout "-1s"`},
		head + "detectLocalMode: BridgeInterface":               {`detectLocal.bridgeInterface ""`},
		head + "featureGates: {AllowServiceExternalIPs: false}": {"AllowServiceExternalIPs"},
		head + "clusterCIDR: 10.0.0.0/8,":                       {`clusterCIDR "10.0.0.0/8,"`},
		head + "metricsBindAddress: localhost:1":                {`metricsBindAddress "localhost:1"`},
	} {
		_, _, err := Load([]string{"--config", write(t, content)})
		if err == nil {
			t.Errorf("%s: accepted", content)
			continue
		}
		for _, w := range want {
			if !strings.Contains(err.Error(), w) {
				t.Errorf("%s: %q does not say %q", content, err, w)
			}
		}
	}
}

func TestFormerFieldsAreReadOver(t *testing.T) {
	_, warnings, err := Load([]string{"--config", write(t, head+"udpIdleTimeout: 250ms")})
	if err != nil || len(warnings) != 1 || !strings.Contains(warnings[0], "udpIdleTimeout 250ms") {
		t.Errorf("warnings %q, error %v", warnings, err)
	}
}

// TestFileDecides has flags beside a file: few count, the others are named.
func TestFileDecides(t *testing.T) {
	path := write(t, head+"hostnameOverride: there\nmode: nftables")
	got, warnings, err := Load([]string{"--config", path, "--hostname-override=here", "--master=https://a", "--v=2", "--cleanup",
		"--proxy-mode=iptables", "--kubeconfig=/k", "--logging-format=json"})
	if err != nil {
		t.Fatal(err)
	}
	want := with(func(c *Config) {
		nftables(c)
		c.Kube.NodeName, c.Server, c.Verbosity, c.Task = "here", "https://a", 2, Cleanup
	})
	if diff := cmp.Diff(want, got, byValue); diff != "" {
		t.Errorf("(-want +got)\n%s", diff)
	}
	for _, name := range []string{"--proxy-mode=iptables", "--kubeconfig=/k", "--logging-format"} {
		if !slices.ContainsFunc(warnings, func(w string) bool { return strings.HasPrefix(w, name) }) {
			t.Errorf("no warning of %s: %q", name, warnings)
		}
	}
	if len(warnings) != 3 {
		t.Errorf("warnings %q, want 3", warnings)
	}
}

// TestNoFieldIsReadOver sets each field of a KubeProxyConfiguration to
// something that nobody has by default: it counts, or it is named.
func TestNoFieldIsReadOver(t *testing.T) {
	checked := 0
	walk(reflect.TypeFor[v1alpha1.KubeProxyConfiguration](), "", func(path string, of reflect.Type) {
		checked++
		value, ok := samples[path]
		if !ok {
			value = sample(of)
		}
		names := strings.Split(path, ".")
		body := strings.Join(names, ": {") + ": " + value + strings.Repeat("}", len(names)-1)
		for _, more := range []string{"", "mode: nftables\n", "detectLocalMode: BridgeInterface\n", "detectLocalMode: InterfaceNamePrefix\n"} {
			if strings.HasPrefix(body, strings.SplitAfter(more+":", ":")[0]) {
				continue // twice in one file
			}
			with, warnings, err := Load([]string{"--config", write(t, head+more+body)})
			without, _, plain := Load([]string{"--config", write(t, head+more)})
			if err != nil && strings.Contains(err.Error(), "unmarshal") {
				t.Fatalf("%s is no value of %s", value, path)
			}
			field := strings.Join(names[:min(2, len(names))], ".")
			named := slices.ContainsFunc(append(warnings, fmt.Sprint(err)), func(s string) bool { return strings.Contains(s, field+" ") })
			if named || plain != nil && err == nil || !cmp.Equal(with, without, byValue) {
				return
			}
		}
		t.Errorf("%s makes no difference, and nothing says so", body)
	})
	if checked < 50 {
		t.Errorf("only %d fields were checked", checked)
	}
}

// samples are values of fields that take few.
var samples = map[string]string{
	"mode": "nftables", "detectLocalMode": "NodeCIDR", "bindAddress": "10.0.0.4", "healthzBindAddress": "10.0.0.4", "metricsBindAddress": "10.0.0.4",
	"clusterCIDR": "10.0.0.0/8", "nodePortAddresses": "[10.0.0.0/8]", "featureGates": "{a: true}", "iptables.localhostNodePorts": "false",
	"logging.vmodule": "[{filePattern: a, verbosity: 7}]",
}

func sample(t reflect.Type) string {
	switch {
	case strings.HasSuffix(t.Name(), "Duration"):
		return "7s"
	case t.Kind() == reflect.Bool:
		return "true"
	case t.Kind() == reflect.Slice:
		return "[a]"
	case t.Kind() == reflect.String:
		return `"7"`
	}
	return `7`
}

// walk goes through all fields, by the names that they have in a file.
func walk(t reflect.Type, path string, visit func(string, reflect.Type)) {
	for i := range t.NumField() {
		f := t.Field(i)
		name, _, _ := strings.Cut(f.Tag.Get("json"), ",")
		of := f.Type
		if of.Kind() == reflect.Pointer {
			of = of.Elem()
		}
		switch {
		case f.Name == "TypeMeta":
		case name == "":
			walk(of, path, visit)
		case of.Kind() == reflect.Struct && !strings.Contains(of.Name(), "Duration") && !strings.Contains(of.Name(), "Quantity"):
			walk(of, path+name+".", visit)
		default:
			visit(path+name, of)
		}
	}
}

func FuzzFile(f *testing.F) {
	for _, s := range []string{"", head, head + "mode: ipvs", head + "iptables: {syncPeriod: fast}", head + "logging: {flushFrequency: 7}", "\t", "a: &a [*a]", head + "clusterCIDR: ','"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, content string) {
		kp, _, err := decode([]byte(content))
		if err != nil {
			return
		}
		withDefaults(&kp)
		r := &reading{kp: &kp, file: true}
		if c := r.config(); len(r.faults) == 0 && (c.SyncPeriod <= 0 || c.Proxy.MasqueradeBit > 31) {
			t.Errorf("accepted %+v", c)
		}
	})
}
