//go:build cluster

package stories

import (
	"context"
	"encoding/json"
	"fmt"
	"math"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/causeway-cni/causeway/scripts/kubernetes"
)

// away is how long the API server is away.
const away = 2 * time.Minute

// apiAway takes the API server away under load, while pods come and go: static
// ones, which kubelet runs without asking, and one that loses its sandbox and
// gets another. Afterwards every pod's address is assigned, and no other.
func apiAway(s story) {
	node := s.cluster.Nodes[0]
	daemons := s.daemons()
	t := s.traffic()
	s.client("loser", "  nodeName: "+node.Name+"\n")
	from := s.fromPod("client")
	defer from.Close()
	s.Cleanup(func() { s.restoreAPI(node) })
	if err := s.cluster.StopAPI(); err != nil {
		s.Fatal(err)
	}
	start := time.Now()
	s.loseSandbox(node, from)
	var took []time.Duration
	came := 0
	for ; time.Since(start) < away; came += 4 {
		took = append(took, s.comeAndGo(node, from, came, 4)...)
	}
	s.times("static pod written to answers, without the API server", took, "%d pods came and went", came)
	if err := s.cluster.StartAPI(s.ctx); err != nil {
		s.Fatal(err)
	}
	s.serveLate(from)
	t.tell("API server away for " + time.Since(start).Round(time.Second).String())
	for _, n := range s.cluster.Nodes[:2] {
		s.eventually("the accounts of "+n.Name, func() error { return s.settled(n) })
	}
	if now := s.daemons(); now != daemons {
		s.Errorf("ipamd's processes and restarts were %s, and are %s: want the same", daemons, now)
	}
}

// daemons are the processes of ipamd on the nodes, with how often its containers
// were started anew.
func (s story) daemons() string {
	s.Helper()
	all := s.kubectl("get", "-n", "kube-system", "pods", "-l", "app.kubernetes.io/name=causeway", "-o", "jsonpath={.items[*].status.containerStatuses[*].restartCount}")
	for _, n := range s.cluster.Nodes[:2] {
		all += " " + s.daemonPID(n)
	}
	return all
}

func (s story) restoreAPI(n *kubernetes.Node) {
	if s.ctx.Err() != nil {
		return // all of the cluster goes
	}
	left, err := filepath.Glob(filepath.Join(n.StaticPods(), "*"))
	if err != nil {
		s.Error(err)
	}
	for _, file := range left {
		if err := os.Remove(file); err != nil {
			s.Error(err)
		}
	}
	if _, err := s.cluster.Kubectl(s.ctx, "get", "--raw", "/readyz"); err == nil {
		return
	}
	if err := s.cluster.StartAPI(context.WithoutCancel(s.ctx)); err != nil {
		s.Error(err)
	}
}

// entry is of ipamd's book: an address that a pod holds, or did lately.
type entry struct {
	State, Namespace, Pod, ContainerID string
	address                            netip.Addr
}

// book is what the pods of a node hold, by namespace and name.
func (s story) book(n *kubernetes.Node) (map[string]entry, error) {
	text, err := n.Exec(s.ctx, "sh", "-c", "cd /run/causeway/book && grep -H . 10.*")
	if err != nil {
		return nil, err
	}
	held := map[string]entry{}
	for line := range strings.Lines(text) {
		name, body, _ := strings.Cut(line, ":")
		var e entry
		if err := json.Unmarshal([]byte(body), &e); err != nil {
			return nil, fmt.Errorf("reading %q of the book: %w", line, err)
		}
		if e.address, err = netip.ParseAddr(name); err != nil {
			return nil, err
		}
		if e.State == "assigned" {
			held[e.Namespace+"/"+e.Pod] = e
		}
	}
	return held, nil
}

const staticPod = `apiVersion: v1
kind: Pod
metadata: {name: %s, namespace: %s}
spec:
  terminationGracePeriodSeconds: 1
  containers: [{name: echo, image: %s, imagePullPolicy: Never, args: [echo, --listen, ":7"]}]
`

// comeAndGo runs so many static pods until all have answered, and then no more,
// and tells how long each took to.
func (s story) comeAndGo(n *kubernetes.Node, from *os.File, first, many int) []time.Duration {
	s.Helper()
	started := map[string]time.Time{}
	for i := range many {
		name := fmt.Sprint("static-", first+i)
		if err := os.WriteFile(filepath.Join(n.StaticPods(), name+".yaml"), fmt.Appendf(nil, staticPod, name, s.space, kubernetes.ProbeImage), 0o600); err != nil {
			s.Fatal(err)
		}
		started[s.space+"/"+name+"-"+n.Name] = time.Now()
	}
	var took []time.Duration
	s.eventually("static pods answer", func() error {
		held, err := s.book(n)
		if err != nil {
			return err
		}
		for pod, at := range started {
			e, ok := held[pod]
			if !ok {
				return fmt.Errorf("%s has no address", pod)
			}
			if err := s.answers(from, e.address, 7); err != nil {
				return err
			}
			took = append(took, time.Since(at))
			delete(started, pod)
		}
		return nil
	})
	for i := range many {
		if err := os.Remove(filepath.Join(n.StaticPods(), fmt.Sprint("static-", first+i, ".yaml"))); err != nil {
			s.Fatal(err)
		}
	}
	s.eventually("static pods go", func() error {
		held, err := s.book(n)
		for pod := range held {
			if strings.HasPrefix(pod, s.space+"/static-") {
				return fmt.Errorf("%s holds %s", pod, held[pod].address)
			}
		}
		return err
	})
	return took
}

// loseSandbox kills the sandbox of a pod; it answers again, from another one.
func (s story) loseSandbox(n *kubernetes.Node, from *os.File) {
	s.Helper()
	held, err := s.book(n)
	if err != nil {
		s.Fatal(err)
	}
	before := held[s.space+"/loser"]
	s.on(n, "ctr", "-n", "k8s.io", "tasks", "kill", "-s", "SIGKILL", before.ContainerID)
	s.eventually("another sandbox answers", func() error {
		held, err := s.book(n)
		after := held[s.space+"/loser"]
		if err != nil || after.ContainerID == before.ContainerID || !after.address.IsValid() {
			return fmt.Errorf("the pod holds %s for sandbox %q: %w", after.address, after.ContainerID, err)
		}
		return s.answers(from, after.address, 7)
	})
}

// serveLate makes a service once the API server is back, and tells when it
// works, and when both pods of DNS know it, and a new namespace: for services and
// namespaces each they wait for up to a minute between their tries to reach the
// API server.
func (s story) serveLate(from *os.File) {
	s.Helper()
	start := time.Now()
	s.apply("apiVersion: v1\nkind: Service\nmetadata: {name: late, namespace: %s}\nspec: {selector: {app: web}, ports: [{port: 80}]}\n", s.space)
	address := netip.MustParseAddr(s.kubectl("get", "service", "late", "-o", "jsonpath={.spec.clusterIP}"))
	passed := func() float64 { return math.Round(time.Since(start).Seconds()*10) / 10 }
	s.eventually("a new service works", func() error { return s.answers(from, address, 80) })
	s.number("API server back: new service works after, s", passed(), "")
	s.apply(`apiVersion: v1
kind: Namespace
metadata: {name: %[1]s-late}
---
apiVersion: v1
kind: Service
metadata: {name: alias, namespace: %[1]s-late}
spec: {type: ExternalName, externalName: late.%[1]s.svc.cluster.local}
`, s.space)
	for _, name := range []string{"late", "alias." + s.space + "-late"} {
		s.eventuallyWithin(3*time.Minute, "DNS knows "+name, func() error {
			_, err := s.cluster.Kubectl(s.ctx, "-n", s.space, "exec", "client", "--", "vpcsim", "probe", "tcp", name+":80", "--count", "20", "--fail-fast")
			return err
		})
		s.number("API server back: DNS knows "+name+" after, s", passed(), "")
	}
	s.kubectl("delete", "namespace", s.space+"-late", "--wait=false")
}
