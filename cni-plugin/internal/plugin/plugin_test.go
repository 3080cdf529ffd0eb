package plugin

import (
	"context"
	"encoding/json"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/containernetworking/cni/pkg/skel"
	"github.com/containernetworking/cni/pkg/types"
	"github.com/containernetworking/plugins/pkg/ns"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/health"
	"google.golang.org/grpc/health/grpc_health_v1"
	"google.golang.org/grpc/status"

	"github.com/causeway-cni/causeway/cni-plugin/notes"
	"github.com/causeway-cni/causeway/rpc"
	"github.com/causeway-cni/causeway/rpc/service"
	"github.com/causeway-cni/causeway/scripts/nstest"
)

// fakeIpamd holds assignments as the daemon does.
type fakeIpamd struct {
	service.UnimplementedIpamdServer
	health *health.Server
	stop   func()

	mu      sync.Mutex
	held    map[string]*rpc.Assignment
	failure *rpc.Failure
	old     bool // knows no host ports
	dual    bool // gives pods an IPv6 address, too
	next    int
}

func (f *fakeIpamd) Assign(_ context.Context, r *rpc.AssignRequest) (*rpc.AssignReply, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.failure != nil {
		st, err := status.New(codes.ResourceExhausted, "no address").WithDetails(f.failure)
		if err != nil {
			return nil, err
		}
		return nil, st.Err()
	}
	id := r.GetAttachment().GetContainerId()
	if f.held[id] == nil {
		f.next++
		f.held[id] = &rpc.Assignment{
			Attachment: r.GetAttachment(), Pod: r.GetPod(), Netns: r.GetNetns(), HostInterface: "eni0123456789a", Mtu: 9001,
			Addresses: []*rpc.Address{{Ip: fmt.Sprintf("10.0.0.%d", f.next), Gateway: "169.254.1.1", RouteTable: 2, Eni: "eni-1", DeviceNumber: 1}},
		}
		if f.dual {
			f.held[id].Addresses = append(f.held[id].Addresses, &rpc.Address{
				Ip: fmt.Sprintf("2001:db8::%d", f.next), Gateway: "fe80::1", RouteTable: 2, Eni: "eni-1", DeviceNumber: 1})
		}
		if !f.old {
			f.held[id].PortMappings = r.GetPortMappings()
		}
	}
	return &rpc.AssignReply{Assignment: f.held[id]}, nil
}

func (f *fakeIpamd) Release(_ context.Context, r *rpc.ReleaseRequest) (*rpc.ReleaseReply, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	id := r.GetAttachment().GetContainerId()
	was := f.held[id]
	delete(f.held, id)
	return &rpc.ReleaseReply{Assignment: was}, nil
}

func (f *fakeIpamd) List(context.Context, *rpc.ListRequest) (*rpc.ListReply, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	reply := &rpc.ListReply{}
	for _, a := range f.held {
		reply.Assignments = append(reply.Assignments, a)
	}
	return reply, nil
}

// world is a node and its pods: two namespaces, a fake daemon, the plugin.
type world struct {
	t         *testing.T
	host, pod ns.NetNS
	dir       string
	daemon    *fakeIpamd
	plugin    Plugin
	prev      map[string]any
}

func newWorld(t *testing.T) *world {
	w := &world{t: t, host: nstest.New(t), pod: nstest.New(t), dir: t.TempDir()}
	w.plugin = Plugin{socket: filepath.Join(w.dir, "ipamd.sock"), notes: filepath.Join(w.dir, "released"), patience: 10 * time.Second}
	w.daemon = &fakeIpamd{held: map[string]*rpc.Assignment{}}
	w.startDaemon()
	t.Cleanup(func() { w.daemon.stop() })
	return w
}

func (w *world) startDaemon() {
	w.t.Helper()
	listener, err := net.Listen("unix", w.plugin.socket)
	if err != nil {
		w.t.Fatal(err)
	}
	server := grpc.NewServer()
	service.RegisterIpamdServer(server, w.daemon)
	w.daemon.health = health.NewServer()
	grpc_health_v1.RegisterHealthServer(server, w.daemon.health)
	w.daemon.stop = server.Stop
	go server.Serve(listener)
}

// call runs one verb as the runtime would, and returns the result it printed.
func (w *world) call(verb func(*skel.CmdArgs) error, container string, extra map[string]any) (map[string]any, error) {
	w.t.Helper()
	conf := map[string]any{"cniVersion": "1.1.0", "name": "aws-cni", "type": "causeway-cni"}
	for k, v := range extra {
		conf[k] = v
	}
	if w.prev != nil {
		conf["prevResult"] = w.prev
	}
	stdin, err := json.Marshal(conf)
	if err != nil {
		w.t.Fatal(err)
	}
	args := &skel.CmdArgs{ContainerID: container, Netns: w.pod.Path(), IfName: "eth0", StdinData: stdin,
		Args: "IgnoreUnknown=1;K8S_POD_NAMESPACE=default;K8S_POD_NAME=web-0;K8S_POD_UID=u1"}
	var printed []byte
	callErr := w.host.Do(func(ns.NetNS) (err error) {
		printed, err = captured(w.t, func() error { return verb(args) })
		return err
	})
	var result map[string]any
	if len(printed) > 0 {
		if err := json.Unmarshal(printed, &result); err != nil {
			w.t.Fatalf("result %s: %v", printed, err)
		}
	}
	return result, callErr
}

// captured collects what a call prints: CNI results go to standard output.
func captured(t *testing.T, body func() error) ([]byte, error) {
	t.Helper()
	file, err := os.CreateTemp(t.TempDir(), "stdout")
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	old := os.Stdout
	os.Stdout = file
	bodyErr := body()
	os.Stdout = old
	text, err := os.ReadFile(file.Name())
	if err != nil {
		t.Fatal(err)
	}
	return text, bodyErr
}

func (w *world) ip(space ns.NetNS, args ...string) string {
	w.t.Helper()
	var out []byte
	if err := space.Do(func(ns.NetNS) (err error) {
		out, err = exec.Command("ip", args...).CombinedOutput()
		return err
	}); err != nil {
		w.t.Fatalf("ip %v: %v\n%s", args, err, out)
	}
	return string(out)
}

func (w *world) add() {
	w.t.Helper()
	result, err := w.call(w.plugin.add, "c1", nil)
	if err != nil {
		w.t.Fatal(err)
	}
	w.prev = result
}

func wantCode(t *testing.T, err error, code uint, words ...string) {
	t.Helper()
	cniErr, ok := err.(*types.Error)
	if !ok || cniErr.Code != code {
		t.Fatalf("got %#v, want CNI error %d", err, code)
	}
	for _, word := range words {
		if !strings.Contains(cniErr.Error(), word) {
			t.Errorf("error %q does not say %q", cniErr, word)
		}
	}
}

func TestAddCheckDel(t *testing.T) {
	w := newWorld(t)
	w.add()
	link := w.prev["interfaces"].([]any)[1].(map[string]any)
	if link["sandbox"] != w.pod.Path() || !strings.Contains(w.ip(w.pod, "link", "show", "eth0"), link["mac"].(string)) {
		t.Errorf("the result %v is not what is there:\n%s", w.prev, w.ip(w.pod, "link"))
	}
	if _, err := w.call(w.plugin.check, "c1", nil); err != nil {
		t.Errorf("CHECK after ADD: %v", err)
	}
	if _, err := w.call(w.plugin.del, "c1", nil); err != nil {
		t.Fatal(err)
	}
	if rules := w.ip(w.host, "rule"); strings.Contains(rules, "10.0.0.1") {
		t.Errorf("left after DEL:\n%s", rules)
	}
	if routes := w.ip(w.host, "route"); routes != "" {
		t.Errorf("left after DEL:\n%s", routes)
	}
	if got := w.ip(w.host, "link", "show", "group", "25463"); !strings.Contains(got, "eni0123456789a") {
		t.Errorf("the veth was not marked as dead:\n%s", w.ip(w.host, "link"))
	}
	if _, err := w.call(w.plugin.del, "c1", nil); err != nil {
		t.Errorf("a second DEL: %v", err)
	}
	w.prev = nil
	w.add() // into the same namespace, while the dead link is still there
}

func TestCheckNamesWhatIsWrong(t *testing.T) {
	for _, c := range []struct {
		where string
		do    []string
		says  string
	}{
		{"host", []string{"rule", "del", "priority", "512"}, "on the host: rule 512:\tfrom all to 10.0.0.1 lookup main is missing"},
		{"host", []string{"rule", "del", "priority", "1536"}, "lookup 2 is missing"},
		{"host", []string{"rule", "add", "priority", "1536", "from", "10.0.0.1", "lookup", "7"}, "lookup 7 should not be there"},
		{"host", []string{"route", "del", "10.0.0.1"}, "route 10.0.0.1 dev eni0123456789a scope link is missing"},
		{"host", []string{"link", "set", "eni0123456789a", "mtu", "1400"}, "mtu is 1400"},
		{"host", []string{"link", "set", "eni0123456789a", "down"}, "is down"},
		{"pod", []string{"addr", "del", "10.0.0.1/32", "dev", "eth0"}, "in the pod: address 10.0.0.1/32 dev eth0 is missing"},
		{"pod", []string{"route", "del", "default"}, "in the pod: route default via 169.254.1.1 dev eth0 is missing"},
		{"pod", []string{"neigh", "del", "169.254.1.1", "dev", "eth0"}, "in the pod: neighbour 169.254.1.1"},
		{"pod", []string{"link", "set", "eth0", "mtu", "1300"}, "in the pod: should be link eth0"},
		{"pod", []string{"link", "del", "eth0"}, "is missing"},
	} {
		t.Run(strings.Join(c.do, " "), func(t *testing.T) {
			w := newWorld(t)
			w.add()
			space := w.host
			if c.where == "pod" {
				space = w.pod
			}
			w.ip(space, c.do...)
			_, err := w.call(w.plugin.check, "c1", nil)
			if err == nil || !strings.Contains(err.Error(), c.says) {
				t.Errorf("CHECK says %v, want %q", err, c.says)
			}
		})
	}
}

func TestDelWhileTheDaemonIsAway(t *testing.T) {
	w := newWorld(t)
	w.add()
	w.daemon.stop()
	if _, err := w.call(w.plugin.del, "c1", nil); err != nil {
		t.Fatal(err)
	}
	if rules := w.ip(w.host, "rule"); strings.Contains(rules, "10.0.0.1") {
		t.Errorf("left after DEL:\n%s", rules)
	}
	left, err := notes.Pending(w.plugin.notes)
	if err != nil || len(left) != 1 {
		t.Fatalf("notes: %v, %v", left, err)
	}
	for _, n := range left {
		if n.ContainerID != "c1" || n.Interface != "eth0" || n.Pod != "web-0" {
			t.Errorf("note %+v", n)
		}
	}
}

// A newer sandbox of the same pod has the same link name; the old one's DEL
// must leave it alone.
func TestDelOfAnOldSandbox(t *testing.T) {
	w := newWorld(t)
	w.add()
	old := w.prev
	w.prev, w.pod = nil, nstest.New(t)
	if _, err := w.call(w.plugin.add, "c2", nil); err != nil {
		t.Fatal(err)
	}
	w.daemon.stop()
	w.prev = old
	if _, err := w.call(w.plugin.del, "c1", nil); err != nil {
		t.Fatal(err)
	}
	if routes := w.ip(w.host, "route"); routes != "10.0.0.2 dev eni0123456789a scope link \n" {
		t.Errorf("routes: %q", routes)
	}
	if dead := w.ip(w.host, "link", "show", "group", "25463"); dead != "" {
		t.Errorf("the newer sandbox's link was given up:\n%s", dead)
	}
}

func TestErrorsHaveCodesAndCauses(t *testing.T) {
	w := newWorld(t)
	w.daemon.failure = &rpc.Failure{Reason: rpc.Reason_REASON_SUBNET_FULL, Message: "subnet subnet-0a1 has no free address"}
	_, err := w.call(w.plugin.add, "c1", nil)
	wantCode(t, err, types.ErrTryAgainLater, "subnet-0a1", "SubnetFull", "default/web-0")
	w.daemon.failure = nil

	_, err = w.call(func(a *skel.CmdArgs) error { a.Netns = "/run/netns/none"; return w.plugin.add(a) }, "c1", nil)
	wantCode(t, err, types.ErrInvalidNetNS, "/run/netns/none")
	_, err = w.call(func(a *skel.CmdArgs) error { a.StdinData = []byte("{"); return w.plugin.add(a) }, "c1", nil)
	wantCode(t, err, types.ErrDecodingFailure, "network configuration")

	if _, err = w.call(w.plugin.status, "", nil); err != nil {
		t.Errorf("STATUS of a healthy daemon: %v", err)
	}
	w.daemon.health.SetServingStatus(rpc.HealthDatapath, grpc_health_v1.HealthCheckResponse_NOT_SERVING)
	_, err = w.call(w.plugin.status, "", nil)
	wantCode(t, err, types.ErrLimitedConnectivity, "routes")
	w.daemon.health.SetServingStatus("", grpc_health_v1.HealthCheckResponse_NOT_SERVING)
	_, err = w.call(w.plugin.status, "", nil)
	wantCode(t, err, types.ErrPluginNotAvailable, "starting")
	w.daemon.stop()
	_, err = w.call(w.plugin.status, "", nil)
	wantCode(t, err, types.ErrPluginNotAvailable, w.plugin.socket)
	w.plugin.patience = 100 * time.Millisecond
	_, err = w.call(w.plugin.add, "c1", nil)
	wantCode(t, err, types.ErrTryAgainLater, w.plugin.socket)
	if links := w.ip(w.host, "link"); strings.Contains(links, "eni") {
		t.Errorf("a failed ADD left a link:\n%s", links)
	}
}

// A daemon that starts again in the middle of an ADD is waited for.
func TestAddWaitsForARestartingDaemon(t *testing.T) {
	w := newWorld(t)
	w.daemon.stop()
	done := make(chan struct{})
	time.AfterFunc(300*time.Millisecond, func() { w.startDaemon(); close(done) })
	w.add()
	<-done
}

func TestAFailedAddLeavesNothing(t *testing.T) {
	w := newWorld(t)
	w.ip(w.pod, "link", "add", "eth0", "type", "veth", "peer", "name", "other")
	_, err := w.call(w.plugin.add, "c1", nil)
	wantCode(t, err, types.ErrInternal, "already has an interface eth0")
	if len(w.daemon.held) != 0 {
		t.Errorf("the address stayed assigned: %v", w.daemon.held)
	}
	if rules := w.ip(w.host, "rule"); strings.Contains(rules, "10.0.0.1") {
		t.Errorf("left after a failed ADD:\n%s", rules)
	}
}

func TestGCReleasesWhatTheRuntimeForgot(t *testing.T) {
	w := newWorld(t)
	w.add()
	w.prev, w.pod = nil, nstest.New(t)
	if _, err := w.call(w.plugin.add, "c2", nil); err != nil {
		t.Fatal(err)
	}
	valid := []types.GCAttachment{{ContainerID: "c2", IfName: "eth0"}}
	if _, err := w.call(w.plugin.gc, "", map[string]any{"cni.dev/valid-attachments": valid}); err != nil {
		t.Fatal(err)
	}
	if len(w.daemon.held) != 1 || w.daemon.held["c2"] == nil {
		t.Errorf("held after GC: %v", w.daemon.held)
	}
	if rules := w.ip(w.host, "rule"); strings.Contains(rules, "10.0.0.1 ") || !strings.Contains(rules, "10.0.0.2") {
		t.Errorf("rules after GC:\n%s", rules)
	}
}
