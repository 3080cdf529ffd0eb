package e2e

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"

	"github.com/causeway-cni/causeway/config"
	"github.com/causeway-cni/causeway/scripts/e2e/harness"
	"github.com/causeway-cni/causeway/scripts/release"
	"github.com/causeway-cni/causeway/scripts/release/oci"
)

// container runs a program of an image as the chart's pod does: its files are
// read-only, and so are sysctls, but for what is mounted below /host; and it has
// no capabilities but these. (It keeps SYS_CHROOT, by which it gets there.)
const container = `set -e
root=$1 capabilities=$2; shift 2
mount --bind "$root" "$root"
bind() { mkdir -p "$1" "$root$2"; mount --bind "$1" "$root$2"; }
bind /proc /proc; bind /proc/sys /proc/sys; mount -o remount,bind,ro "$root/proc/sys"
bind /sys /sys; mount -o remount,bind,ro "$root/sys"
bind /dev /dev
bind /var/lib/kubelet /var/lib/kubelet # the simulator's kubeconfig; a pod has a token
bind /proc/sys/net /host/proc/sys/net; bind /sys/module /host/sys/module
bind /opt/cni/bin /host/opt/cni/bin; bind /etc/cni/net.d /host/etc/cni/net.d
bind /run/causeway /run/causeway; bind /var/run/aws-node /var/run/aws-node
touch /run/xtables.lock "$root/run/xtables.lock"; mount --bind /run/xtables.lock "$root/run/xtables.lock"
mount -o remount,bind,ro "$root"
exec setpriv --bounding-set="-all,+sys_chroot$capabilities" --inh-caps=-all --no-new-privs chroot "$root" "$@"
`

// pack unpacks the image, and returns what runs a program in it.
func (s *story) pack() func(capabilities []corev1.Capability, program ...string) []string {
	bin, root := s.TempDir(), filepath.Join(s.TempDir(), "root")
	s.must(release.BuildPrograms(s.ctx, bin, "v1"))
	files, err := release.Files(bin)
	s.must(err)
	s.must(oci.Unpack(root, files))
	script := filepath.Join(s.TempDir(), "container.sh")
	s.must(os.WriteFile(script, []byte(container), 0o600))
	return func(capabilities []corev1.Capability, program ...string) []string {
		added := ""
		for _, c := range capabilities {
			added += ",+" + strings.ToLower(string(c))
		}
		return append([]string{"unshare", "--mount", "--propagation", "private", "sh", script, root, added}, program...)
	}
}

// podEnv is what the chart's pod has in its environment.
var podEnv = []string{release.Path, "CAUSEWAY_HOST_ROOT=/host", "HOST_CNI_CONFDIR_PATH=/host/etc/cni/net.d"}

// TestImage runs the programs of the image on a node as the chart's pod does:
// they install the plugin, and serve pods; and they need each capability.
func TestImage(t *testing.T) {
	t.Parallel()
	s := raise(t, small)
	node, inImage := s.lab.Node("n1"), s.pack()
	const plugin, conflist = "/opt/cni/bin/" + config.Plugin, "/etc/cni/net.d/" + config.ConflistName

	for _, said := range []string{"installed /host" + plugin, "/host" + plugin + " is up to date"} {
		out, err := node.Exec(s.ctx, append([]string{"env", "CAUSEWAY_HOST_ROOT=/host"}, inImage([]corev1.Capability{"NET_ADMIN"}, "/usr/bin/ipamd", "install")...)...)
		s.must(err)
		if !strings.Contains(out, said) || strings.Contains(out, "read-only") {
			t.Errorf("install said %q, want %q", out, said)
		}
	}
	if out := s.shell(node, "stat -c %a "+plugin+"; CNI_COMMAND=VERSION "+plugin+` </dev/null; cat /proc/sys/net/ipv4/ip_forward`); !strings.HasPrefix(out, "755\n") || !strings.HasSuffix(out, "\n1\n") {
		t.Errorf("the plugin's mode, its versions, and ip_forward: %s", out)
	}

	for _, missing := range release.Capabilities {
		// Without one the daemon says what it may not do, and takes no pods.
		less := slices.DeleteFunc(slices.Clone(release.Capabilities), func(c corev1.Capability) bool { return c == missing })
		daemon, err := node.StartDaemon(inImage(less, release.Entrypoint), append([]string{"CAUSEWAY_IPTABLES=legacy"}, podEnv...)...)
		s.must(err)
		s.within(15*time.Second, func() error {
			if text, err := os.ReadFile(daemon.Log); err != nil || !strings.Contains(string(text), "ermission denied") && !strings.Contains(string(text), "not permitted") {
				return fmt.Errorf("without %s: %w, log:\n%s", missing, err, daemon.Tail())
			}
			return nil
		})
		if out := s.shell(node, "ls /etc/cni/net.d"); out != "" {
			t.Errorf("without %s a CNI configuration is offered: %s", missing, out)
		}
		_ = daemon.Stop() // it may have ended by itself, and then not well
	}

	for i, variant := range []string{"legacy", "nft"} {
		daemon, err := node.StartDaemon(inImage(release.Capabilities, release.Entrypoint), append([]string{"CAUSEWAY_IPTABLES=" + variant}, podEnv...)...)
		s.must(err)
		if i > 0 { // the configuration is from before
			s.must(node.AwaitReady(s.ctx))
		}
		s.within(10*time.Second, func() error {
			out, err := node.Exec(s.ctx, "cat", conflist)
			if err == nil && out != config.Conflist {
				err = fmt.Errorf("the CNI configuration is %s", out)
			}
			return err
		})
		s.must(node.CNIStatus(s.ctx)) // what is offered is there
		var pods []*harness.Pod
		for i := range 3 {
			pods = append(pods, s.add(node, fmt.Sprintf("%s%d", variant, i)))
		}
		s.reach(pods...)
		text, err := os.ReadFile(daemon.Log)
		s.must(err)
		for _, trouble := range []string{"denied", "not permitted", "read-only"} {
			if strings.Contains(string(text), trouble) {
				t.Errorf("with %s: %s:\n%s", variant, trouble, text)
			}
		}
		s.must(daemon.Stop())
		if out := s.shell(node, "cat "+conflist); out != config.Conflist {
			t.Errorf("a daemon that ends leaves %q", out)
		}
	}
}
