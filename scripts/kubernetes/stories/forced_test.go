//go:build cluster

package stories

import (
	"errors"
	"fmt"
	"net"
	"os"
	"slices"
	"strings"

	"github.com/causeway-cni/causeway/scripts/cluster"
)

// forcedDelete deletes all pods by force; those in their place serve. A session
// with one of the old ones is told that it ended, and a flow of datagrams goes on
// with one of the new.
func forcedDelete(s story) {
	s.web(4)
	s.client("client", "")
	netns := s.fromPod("client")
	defer netns.Close()
	dial := cluster.DialIn(fmt.Sprintf("/proc/self/fd/%d", netns.Fd()))
	at := s.kubectl("get", "service", "web", "-o", "jsonpath={.spec.clusterIP}") + ":80"
	conns := map[string]net.Conn{}
	for _, network := range []string{"tcp4", "udp4"} {
		c, err := dial(s.ctx, network, at)
		if err != nil {
			s.Fatal(err)
		}
		defer c.Close()
		if _, err := whom(c); err != nil {
			s.Fatal(err)
		}
		conns[network] = c
	}
	old := strings.Fields(s.kubectl("get", "pods", "-l", "app=web", "-o", "jsonpath={.items[*].status.podIP}"))
	s.kubectl("delete", "pods", "-l", "app=web", "--force", "--grace-period=0")
	s.eventually("the end of a session with a pod that was deleted by force", func() error {
		pod, err := whom(conns["tcp4"])
		switch {
		case errors.Is(err, os.ErrDeadlineExceeded):
			s.Fatalf("no answer, and no end of the connection: %v", err)
		case err == nil:
			return fmt.Errorf("%s still answers", pod)
		}
		return nil
	})
	s.eventually("the next of a flow of datagrams", func() error {
		pod, err := whom(conns["udp4"])
		if err == nil && slices.Contains(old, pod.String()) {
			err = fmt.Errorf("%s still answers", pod)
		}
		return err
	})
	s.rollout()
	s.probe("client", "tcp", "web:80", "--count", "50", "--fail-fast")
}
