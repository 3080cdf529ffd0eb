package cluster

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"runtime"
	"strings"
	"time"

	"golang.org/x/sys/unix"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// Field is a small world of network namespaces: clients, a node that forwards,
// backends that have every address of 10.0.0.0/9, and the API server.
//
//	client 192.168.1.2 -- 192.168.1.1 node 192.168.2.1 -- 192.168.2.2 backends
//	                                   192.168.3.1 -- 192.168.3.2 API server
type Field struct {
	Tools Tools
	API   *API
	dir   string
	name  string
	nodes int
	moves int
	Node  *FieldNode
}

// FieldNode is the node of a Field, in a namespace that no other had.
type FieldNode struct {
	Name  string // of its Node object
	Netns string // path
	field *Field
	space string
}

// Services is the block of cluster IPs of a Field.
const Services = "10.128.0.0/12"

// NewField makes the namespaces, starts the API server, and a listener on port
// 80 of all backends, which tells each client the address that it came to.
func NewField(ctx context.Context, tools Tools, dir string) (*Field, error) {
	f := &Field{Tools: tools, dir: dir, name: fmt.Sprintf("cwf%d", os.Getpid())}
	for _, space := range []string{"client", "backend", "api"} {
		if err := f.ip("netns", "add", f.space(space)); err != nil {
			return nil, errors.Join(err, f.Close())
		}
		if err := f.ip("-n", f.space(space), "link", "set", "lo", "up"); err != nil {
			return nil, errors.Join(err, f.Close())
		}
	}
	err := f.ip("-n", f.space("backend"), "route", "add", "local", "10.0.0.0/9", "dev", "lo")
	if err == nil {
		err = f.ip("-n", f.space("api"), "addr", "add", "192.168.3.2/32", "dev", "lo")
	}
	if err == nil {
		f.API, err = StartAPI(ctx, tools, Options{Dir: dir, Netns: f.Path("api"), Addr: netip.MustParseAddr("192.168.3.2"), Services: Services})
	}
	if err == nil {
		err = Serve(ctx, f.Path("backend"), ":80")
	}
	if err == nil {
		err = f.NewNode(ctx)
	}
	if err != nil {
		return nil, errors.Join(err, f.Close())
	}
	return f, nil
}

func (f *Field) space(name string) string { return f.name + "-" + name }

// Path is that of the namespace client, backend or api.
func (f *Field) Path(space string) string { return "/run/netns/" + f.space(space) }

func (f *Field) ip(args ...string) error {
	if out, err := exec.Command("ip", args...).CombinedOutput(); err != nil {
		return fmt.Errorf("ip %s: %w: %s", strings.Join(args, " "), err, out)
	}
	return nil
}

// NewNode puts a node that nothing was ever written to in the place of the one
// before.
func (f *Field) NewNode(ctx context.Context) error {
	if f.Node != nil {
		for _, far := range []string{"client", "backend", "api"} { // a namespace goes later than its name
			if err := f.ip("-n", f.Node.space, "link", "del", far); err != nil {
				return err
			}
		}
		if err := f.ip("netns", "del", f.Node.space); err != nil {
			return err
		}
	}
	f.nodes++
	n := &FieldNode{Name: "node", field: f, space: f.space(fmt.Sprintf("node%d", f.nodes))}
	n.Netns = "/run/netns/" + n.space
	if err := f.ip("netns", "add", n.space); err != nil {
		return err
	}
	f.Node = n
	steps := [][]string{{"-n", n.space, "link", "set", "lo", "up"}}
	for i, far := range []string{"client", "backend", "api"} {
		net := fmt.Sprintf("192.168.%d.", i+1)
		steps = append(steps,
			[]string{"-n", n.space, "link", "add", far, "type", "veth", "peer", "name", "eth0", "netns", f.space(far)},
			[]string{"-n", n.space, "addr", "add", net + "1/24", "dev", far}, []string{"-n", n.space, "link", "set", far, "up"},
			[]string{"-n", f.space(far), "addr", "add", net + "2/24", "dev", "eth0"}, []string{"-n", f.space(far), "link", "set", "eth0", "up"},
			[]string{"-n", f.space(far), "route", "add", "default", "via", net + "1"})
	}
	steps = append(steps, []string{"-n", n.space, "route", "add", "10.0.0.0/9", "via", "192.168.2.2"})
	for _, args := range steps {
		if err := f.ip(args...); err != nil {
			return err
		}
	}
	if _, err := n.Exec("sysctl", "-qw", "net.ipv4.ip_forward=1", "net.netfilter.nf_conntrack_max=1000000"); err != nil {
		if _, err := n.Exec("sysctl", "-qw", "net.ipv4.ip_forward=1"); err != nil {
			return err
		}
	}
	return f.nodeObject(ctx, n.Name)
}

func (f *Field) nodeObject(ctx context.Context, name string) error {
	nodes := f.API.Client.CoreV1().Nodes()
	if _, err := nodes.Get(ctx, name, metav1.GetOptions{}); err == nil {
		return nil
	}
	n, err := nodes.Create(ctx, &corev1.Node{ObjectMeta: metav1.ObjectMeta{Name: name}}, metav1.CreateOptions{})
	if err != nil {
		return err
	}
	n.Status.Addresses = []corev1.NodeAddress{{Type: corev1.NodeInternalIP, Address: "192.168.2.1"}}
	_, err = nodes.UpdateStatus(ctx, n, metav1.UpdateOptions{})
	return err
}

// Exec runs a command on the node.
func (n *FieldNode) Exec(command ...string) (string, error) {
	out, err := exec.Command("nsenter", append([]string{"--net=" + n.Netns, "--"}, command...)...).CombinedOutput()
	if err != nil {
		return string(out), fmt.Errorf("%s: %w: %s", strings.Join(command, " "), err, out)
	}
	return string(out), nil
}

// Start starts a program on the node.
func (n *FieldNode) Start(name string, env []string, command ...string) (*Process, error) {
	return Start(name, n.Netns, fmt.Sprintf("%s/%s-%d.log", n.field.dir, name, n.field.nodes), env, command...)
}

// StartProxy starts `ipamd proxy` on the node, in a mode, without limiters.
func (n *FieldNode) StartProxy(ipamd, mode string, more ...string) (*Process, error) {
	return n.Start("causeway-"+mode, nil, append([]string{ipamd, "proxy", "--kubeconfig", n.field.API.Kubeconfig,
		"--hostname-override", n.Name, "--proxy-mode", mode, "--conntrack-max-per-core", "0", "--conntrack-min", "0"}, more...)...)
}

// kubeProxyConfig has no limiter: 0 would stand for a second.
const kubeProxyConfig = `apiVersion: kubeproxy.config.k8s.io/v1alpha1
kind: KubeProxyConfiguration
mode: %[1]s
hostnameOverride: %[2]s
clientConnection: {kubeconfig: %[3]q, qps: 1000, burst: 1000}
conntrack: {maxPerCore: 0, min: 0}
iptables: {minSyncPeriod: 1ms, syncPeriod: 1h}
nftables: {minSyncPeriod: 1ms, syncPeriod: 1h}
`

// StartKubeProxy starts the real kube-proxy on the node. The variant of
// iptables is the one that its PATH has: nft or legacy.
func (n *FieldNode) StartKubeProxy(mode, variant string) (*Process, error) {
	file := fmt.Sprintf("%s/kube-proxy-%s.yaml", n.field.dir, mode)
	if err := os.WriteFile(file, fmt.Appendf(nil, kubeProxyConfig, mode, n.Name, n.field.API.Kubeconfig), 0o600); err != nil {
		return nil, err
	}
	bin := n.field.dir + "/bin-" + variant
	if err := os.MkdirAll(bin, 0o755); err != nil {
		return nil, err
	}
	for _, program := range []string{"iptables", "iptables-save", "iptables-restore", "ip6tables", "ip6tables-save", "ip6tables-restore"} {
		first, rest, _ := strings.Cut(program, "tables")
		target, err := exec.LookPath(first + "tables-" + variant + rest)
		if err != nil {
			return nil, err
		}
		if err := os.Symlink(target, bin+"/"+program); err != nil && !errors.Is(err, os.ErrExist) {
			return nil, err
		}
	}
	return n.Start("kube-proxy-"+mode, []string{"PATH=" + bin + ":" + os.Getenv("PATH")}, n.field.Tools.KubeProxy, "--config", file)
}

// Close ends everything.
func (f *Field) Close() error {
	var failed []error
	if f.API != nil {
		failed = append(failed, f.API.Stop())
	}
	spaces := []string{f.space("client"), f.space("backend"), f.space("api")}
	if f.Node != nil {
		spaces = append(spaces, f.Node.space)
	}
	for _, s := range spaces {
		if _, err := os.Stat("/run/netns/" + s); err == nil {
			failed = append(failed, f.ip("netns", "del", s))
		}
	}
	return errors.Join(failed...)
}

// Within runs f on a thread in a network namespace, which ends with it.
func Within(netns string, f func() error) error {
	done := make(chan error, 1)
	go func() {
		runtime.LockOSThread() // and never unlock
		fd, err := unix.Open(netns, unix.O_RDONLY|unix.O_CLOEXEC, 0)
		if err == nil {
			err = unix.Setns(fd, unix.CLONE_NEWNET)
			unix.Close(fd)
		}
		if err != nil {
			done <- fmt.Errorf("entering %s: %w", netns, err)
			return
		}
		done <- f()
	}()
	return <-done
}

// Serve answers TCP connections in a namespace with the address that they came
// to, until ctx ends.
func Serve(ctx context.Context, netns, address string) error {
	var listener net.Listener
	err := Within(netns, func() (err error) { listener, err = net.Listen("tcp4", address); return err })
	if err != nil {
		return err
	}
	context.AfterFunc(ctx, func() { listener.Close() })
	go func() {
		for {
			c, err := listener.Accept()
			if err != nil {
				return
			}
			go func() {
				defer c.Close()
				c.SetDeadline(time.Now().Add(5 * time.Second))
				fmt.Fprint(c, c.LocalAddr().String())
			}()
		}
	}()
	return nil
}

// Ask connects once, from the thread's namespace, and returns which backend
// answered.
func Ask(address string, timeout time.Duration) (netip.AddrPort, error) {
	c, err := (&net.Dialer{Timeout: timeout, FallbackDelay: -1}).Dial("tcp4", address)
	if err != nil {
		return netip.AddrPort{}, err
	}
	defer c.Close()
	c.SetDeadline(time.Now().Add(timeout))
	buf := make([]byte, 64)
	n, err := c.Read(buf)
	if err != nil {
		return netip.AddrPort{}, err
	}
	return netip.ParseAddrPort(string(buf[:n]))
}

// Connect connects once, from the thread's namespace, and hangs up.
func Connect(address string, timeout time.Duration) error {
	c, err := (&net.Dialer{Timeout: timeout, FallbackDelay: -1}).Dial("tcp4", address)
	if err != nil {
		return err
	}
	c.(*net.TCPConn).SetLinger(0)
	return c.Close()
}

// Generation is from 1 to 5, and another one than at the call before: that of
// endpoints to move to.
func (f *Field) Generation() int {
	f.moves++
	return 1 + f.moves%5
}
