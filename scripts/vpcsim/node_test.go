package main

import (
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// TestExec passes exit codes, environment, standard streams and the working
// directory, and ends the command when it is killed.
func TestExec(t *testing.T) {
	s := raise(t, "exec", "")
	for script, want := range map[string]int{"exit 0": 0, "exit 7": 7, "kill -9 $$": 137} {
		if out, code := s.run("exec", "n1", "--", "sh", "-c", script); code != want {
			t.Errorf("%q: exit code %d, want %d: %s", script, code, want, out)
		}
	}
	if out := s.must("exec", "-it", "n1", "--", "echo", "-n", "x"); out != "x" {
		t.Errorf("flags behind the node's name are the command's: got %q", out)
	}
	if _, code := s.run("exec", "n1", "nosuchcommand"); code != 127 {
		t.Errorf("a missing command: exit code %d, want 127", code)
	}
	t.Setenv("AWS_PROFILE", "mine")
	t.Setenv("AWS_VPC_K8S_CNI_EXTERNALSNAT", "true")
	t.Setenv("HTTPS_PROXY", "http://127.0.0.1:1")
	got := s.shell("n2", `echo $AWS_ENDPOINT_URL_EC2 $MY_NODE_NAME ${AWS_PROFILE-none} $AWS_VPC_K8S_CNI_EXTERNALSNAT ${HTTPS_PROXY-none}`)
	if want := "http://169.254.171.1 n2 none true none\n"; got != want {
		t.Errorf("environment: got %q, want %q", got, want)
	}

	cmd := exec.Command(program, "--name", s.name, "exec", "n1", "sh", "-c", "pwd; cat; exec sleep 1000")
	cmd.Dir, cmd.Stdin = t.TempDir(), strings.NewReader("input\n")
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	buf := make([]byte, len(cmd.Dir+"\ninput\n"))
	if _, err := io.ReadFull(out, buf); err != nil || string(buf) != cmd.Dir+"\ninput\n" {
		t.Errorf("streams: got %q, %v", buf, err)
	}
	if err := cmd.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	_ = cmd.Wait() // killed
	s.eventually("the command ends with a killed exec", func() bool {
		return !strings.Contains(s.shell("n1", "cat /proc/[0-9]*/cmdline | tr '\\0' ' '"), "sleep 1000")
	})
}

// TestFiles looks at what a node has to itself, from inside and outside.
func TestFiles(t *testing.T) {
	s := raise(t, "file", "")
	hostname, err := os.Hostname()
	if err != nil {
		t.Fatal(err)
	}
	s.shell("n1", `
		test "$(hostname)" = n1
		test "$(cat /proc/1/comm)" = vpcsim
		test "$(ls /sys/class/net | xargs)" = "eth0 lo"
		test -d /sys/fs/cgroup
		test -z "$(find /etc/cni/net.d /opt/cni/bin /var/lib/cni /var/lib/kubelet /run/netns -mindepth 1 ! -name kubeconfig)"
		for d in /etc/cni/net.d /opt/cni/bin /var/lib/cni /var/lib/kubelet /run /etc /var/lib /var/log/pods; do
			echo n1 > $d/vpcsim-test
		done
		ip netns add pod
		unshare -m sh -c 'ip netns exec pod true'
		sysctl -n net.ipv4.ip_forward net.ipv4.conf.all.rp_filter net.ipv4.conf.eth0.rp_filter | xargs | grep -qx "0 0 1"
	`)
	s.shell("n2", `
		for d in /etc/cni/net.d /opt/cni/bin /var/lib/cni /var/lib/kubelet /run /etc /var/lib /var/log/pods; do
			test ! -e $d/vpcsim-test
		done
		test ! -e /run/netns/pod
	`)
	for _, dir := range []string{"/etc", "/var/lib", "/run", "/opt/cni", "/etc/cni"} {
		if _, err := os.Stat(filepath.Join(dir, "vpcsim-test")); err == nil {
			t.Errorf("the node wrote to the machine's %s", dir)
		}
	}
	if now, err := os.Hostname(); err != nil || now != hostname {
		t.Errorf("the machine's name is %q now: %v", now, err)
	}
	seen := filepath.Join(s.status().Nodes[0].Dir, "root/opt/cni/bin/vpcsim-test")
	if text, err := os.ReadFile(seen); err != nil || string(text) != "n1\n" {
		t.Errorf("the node's /opt/cni/bin from outside: %q, %v", text, err)
	}
}

// TestMetadata asks the metadata service as a node's own processes do, and as a
// pod behind one more hop, which gets a token only where the limit allows it.
func TestMetadata(t *testing.T) {
	s := raise(t, "imds", `{nodes: [{name: n1, subnet: a}, {name: n2, subnet: b, metadata: {hopLimit: 2}}]}`)
	for _, n := range s.status().Nodes {
		if got := s.instanceID(n.Name); got != n.InstanceID {
			t.Errorf("%s is told that it is %q, want %q", n.Name, got, n.InstanceID)
		}
	}
	const pod = `
		sysctl -qw net.ipv4.ip_forward=1
		ip netns add pod
		ip link add pod0 type veth peer name eth0 netns pod
		ip addr add 192.168.99.1/24 dev pod0
		ip link set pod0 up
		ip -n pod addr add 192.168.99.2/24 dev eth0
		ip -n pod link set eth0 up
		ip -n pod route add default via 192.168.99.1
		nft add table ip t
		nft 'add chain ip t p { type nat hook postrouting priority 100; }'
		nft add rule ip t p oifname eth0 masquerade
		ip netns exec pod timeout 1 bash -c '
			exec 3<>/dev/tcp/169.254.169.254/80 && echo connected
			printf "PUT /latest/api/token HTTP/1.1\r\nHost: x\r\nX-aws-ec2-metadata-token-ttl-seconds: 60\r\n\r\n" >&3
			head -1 <&3' || true`
	if got := s.shell("n1", pod); got != "connected\n" {
		t.Errorf("a pod behind a hop limit of 1: %q, want a connection without an answer", got)
	}
	if got := s.shell("n2", pod); !strings.Contains(got, "200 OK") {
		t.Errorf("a pod behind a hop limit of 2: %q, want a token", got)
	}
}

func (s *sim) instanceID(node string) string {
	s.Helper()
	client := s.httpFrom(node)
	token := s.body(client, http.MethodPut, "/latest/api/token", "X-Aws-Ec2-Metadata-Token-Ttl-Seconds", "60")
	return s.body(client, http.MethodGet, "/latest/meta-data/instance-id", "X-Aws-Ec2-Metadata-Token", token)
}

func (s *sim) body(client *http.Client, method, path, header, value string) string {
	s.Helper()
	req, err := http.NewRequestWithContext(s.Context(), method, "http://169.254.169.254"+path, nil)
	if err != nil {
		s.Fatal(err)
	}
	req.Header.Set(header, value)
	resp, err := client.Do(req)
	if err != nil {
		s.Fatal(err)
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(resp.Body)
	if err != nil || resp.StatusCode != http.StatusOK {
		s.Fatalf("%s %s: %s %v %s", method, path, resp.Status, err, text)
	}
	return string(text)
}

// TestTerminate ends a node's processes and namespace; the other stays.
func TestTerminate(t *testing.T) {
	s := raise(t, "term", "")
	s.must("terminate", "n1")
	s.eventually("the node goes", func() bool {
		left := strings.Join(remains(t, s.name), "\n")
		return !strings.Contains(left, s.name+"-n1") && strings.Contains(left, s.name+"-n2")
	})
	if _, code := s.run("exec", "n1", "true"); code != 1 {
		t.Errorf("exec in a terminated node: exit code %d, want 1", code)
	}
	s.probe("n2", "tcp", "203.0.113.10:80")
}

// TestFast keeps `vpcsim up` a matter of a moment.
func TestFast(t *testing.T) {
	start := time.Now()
	raise(t, "fast", "")
	if took := time.Since(start); took > 3*time.Second {
		t.Errorf("two nodes took %s, want under 3 s", took)
	}
}
