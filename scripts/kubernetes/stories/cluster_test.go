//go:build cluster

package stories

import (
	"context"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/causeway-cni/causeway/scripts/e2e/harness"
	"github.com/causeway-cni/causeway/scripts/kubernetes"
)

var (
	mode = flag.String("mode", "", "PROXY_MODE of Causeway")
	race = flag.Bool("race-detector", false, "build Causeway with the race detector; what is measured is slower then")
)

// tales are all stories, in the order in which they are told.
var tales = []struct {
	name string
	tell func(s story)
}{
	{"NoAddress", noAddress}, // before others leave the nodes more than they need
	{"Services", services},
	{"Walks", walks},
	{"Balancers", balancers},
	{"RollingUpdate", rollingUpdate},
	{"Probes", probes},
	{"Tools", tools},
	{"Programming", programming},
	{"Scale", scale},
	{"ForcedDelete", forcedDelete},
	{"TakeOver", takeOver},
	{"CleanUp", cleanUp},
	{"Restarts", restarts},
	{"Upgrade", upgrade},
	{"APIAway", apiAway},
	{"JoinAndDrain", joinAndDrain},
	{"Accounts", accounts},
}

// TestCluster lets its stories happen one after the other on one cluster.
func TestCluster(t *testing.T) {
	ctx, stop := signal.NotifyContext(t.Context(), os.Interrupt, unix.SIGTERM)
	defer stop()
	cache, err := os.UserCacheDir()
	if err != nil {
		t.Fatal(err)
	}
	name := fmt.Sprintf("e2e%d", os.Getpid())
	c, err := kubernetes.Up(ctx, kubernetes.Options{
		Name: name, Dir: filepath.Join(cache, "causeway", "clusters", name), Nodes: 2, Spare: 3, ProxyMode: *mode, Race: *race,
		Say: func(line string) { t.Log(line) },
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := c.Close(); err != nil {
			t.Error(err)
		}
	})
	defer printNumbers()
	for _, tale := range tales {
		t.Run(tale.name, func(t *testing.T) { tale.tell(newStory(t, ctx, c)) })
	}
	for _, n := range c.Nodes {
		if found, err := n.Races(ctx); err != nil || found != "" {
			t.Errorf("races on %s: %v\n%s", n.Name, err, found)
		}
	}
}

// story is what happens in a namespace of its own.
type story struct {
	*testing.T
	ctx     context.Context
	cluster *kubernetes.Cluster
	space   string
}

func newStory(t *testing.T, ctx context.Context, c *kubernetes.Cluster) story {
	s := story{t, ctx, c, strings.ToLower(filepath.Base(t.Name()))}
	if _, err := c.Kubectl(ctx, "create", "namespace", s.space); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if ctx.Err() != nil {
			return // all of the cluster goes
		}
		if t.Failed() {
			t.Log(c.Explain(ctx))
		}
		// The next story does not wait for the end of this one; the last one does.
		if _, err := c.Kubectl(context.WithoutCancel(ctx), "delete", "namespace", s.space, "--wait=false"); err != nil {
			t.Error(err)
		}
	})
	return s
}

// kubectl runs kubectl in the story's namespace.
func (s story) kubectl(args ...string) string {
	s.Helper()
	out, err := s.cluster.Kubectl(s.ctx, append([]string{"-n", s.space}, args...)...)
	if err != nil {
		s.Fatal(err)
	}
	return strings.TrimSpace(out)
}

func (s story) apply(format string, args ...any) {
	s.Helper()
	if err := s.cluster.Apply(s.ctx, fmt.Sprintf(format, args...)); err != nil {
		s.Fatal(err)
	}
}

// eventually tries until it works, for a minute at most.
func (s story) eventually(what string, try func() error) {
	s.Helper()
	s.eventuallyWithin(time.Minute, what, try)
}

func (s story) eventuallyWithin(limit time.Duration, what string, try func() error) {
	s.Helper()
	ctx, cancel := context.WithTimeout(s.ctx, limit)
	defer cancel()
	if err := harness.Poll(ctx, try); err != nil {
		s.Fatalf("%s: %v", what, err)
	}
}

// web is a deployment that tells clients who they are, with its service.
func (s story) web(replicas int) {
	s.Helper()
	s.apply(`apiVersion: apps/v1
kind: Deployment
metadata: {name: web, namespace: %[1]s}
spec:
  replicas: %[2]d
  selector: {matchLabels: {app: web}}
  template:
    metadata: {labels: {app: web}}
    spec:
      terminationGracePeriodSeconds: 1
      topologySpreadConstraints:
      - {maxSkew: 1, topologyKey: kubernetes.io/hostname, whenUnsatisfiable: DoNotSchedule, nodeTaintsPolicy: Honor, labelSelector: {matchLabels: {app: web}}}
      containers:
      - name: web
        image: %[3]s
        args: [echo, --listen, ":80"]
        readinessProbe: {tcpSocket: {port: 80}, periodSeconds: 1}
---
apiVersion: v1
kind: Service
metadata: {name: web, namespace: %[1]s}
spec:
  type: NodePort
  selector: {app: web}
  ports: [{name: tcp, port: 80, protocol: TCP}, {name: udp, port: 80, protocol: UDP}]
`, s.space, replicas, kubernetes.ProbeImage)
	s.rollout()
}

func (s story) rollout() {
	s.Helper()
	s.kubectl("rollout", "status", "deployment/web", "--timeout=3m")
}

// client is a pod that waits for commands; further lines of its spec follow.
func (s story) client(name, spec string) {
	s.Helper()
	s.apply(`apiVersion: v1
kind: Pod
metadata: {name: %s, namespace: %s}
spec:
  terminationGracePeriodSeconds: 1
  containers: [{name: client, image: %s, args: [echo, --listen, ":7"]}]
%s`, name, s.space, kubernetes.ProbeImage, spec)
	s.kubectl("wait", "--for=condition=Ready", "pod/"+name, "--timeout=2m")
}

// probe asks from a pod, and fails the story unless all answers come.
func (s story) probe(pod string, args ...string) string {
	s.Helper()
	return s.kubectl(append([]string{"exec", pod, "--", "vpcsim", "probe"}, args...)...)
}
