package server

import (
	"bytes"
	"context"
	"errors"
	"log/slog"
	"net/netip"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"google.golang.org/grpc/codes"
	"google.golang.org/protobuf/testing/protocmp"

	"github.com/causeway-cni/causeway/ipamd/internal/pool"
	"github.com/causeway-cni/causeway/rpc"
	"github.com/causeway-cni/causeway/rpc/service"
)

func mapping(at string, host, container uint32, protocol string) *rpc.PortMapping {
	return &rpc.PortMapping{HostIp: at, HostPort: host, ContainerPort: container, Protocol: protocol}
}

// TestHostPortsAreCarried follows host ports from the request to the answer, to
// who publishes them, and to the list.
func TestHostPortsAreCarried(t *testing.T) {
	for _, late := range []error{nil, errors.New("the rules are not in yet")} {
		var log bytes.Buffer
		published := make(chan pool.Assignment, 1)
		s, book, conn := serveWith(t, Settings{HostPorts: true, Log: slog.New(slog.NewTextHandler(&log, nil)),
			Publish: func(ctx context.Context, a pool.Assignment) error {
				if _, bounded := ctx.Deadline(); !bounded {
					t.Error("publishing has no end")
				}
				published <- a
				return late
			}})
		s.Open(book)
		client := service.NewIpamdClient(conn)
		asked := []*rpc.PortMapping{mapping("", 8080, 80, "tcp"), mapping("192.0.2.1", 53, 5353, "udp")}
		reply, err := client.Assign(t.Context(), &rpc.AssignRequest{Attachment: attachment("c1"), PortMappings: append(asked, asked[0])})
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(asked, reply.GetAssignment().GetPortMappings(), protocmp.Transform()); diff != "" {
			t.Errorf("answer (-want +got):\n%s", diff)
		}
		if got := (<-published).Ports; len(got) != 2 || got[1] != (pool.HostPort{Addr: netip.MustParseAddr("192.0.2.1"), Port: 53, Container: 5353, Protocol: "udp"}) {
			t.Errorf("published %v", got)
		}
		if got := strings.Contains(log.String(), "not in yet"); got != (late != nil) {
			t.Errorf("publishing ended with %v; the log says %q", late, &log)
		}
		list, err := client.List(t.Context(), &rpc.ListRequest{})
		if err != nil || len(list.GetAssignments()) != 1 || len(list.GetAssignments()[0].GetPortMappings()) != 2 {
			t.Errorf("listed %v, %v", list, err)
		}
		if _, err := client.Assign(t.Context(), &rpc.AssignRequest{Attachment: attachment("c2")}); err != nil || len(published) > 0 {
			t.Errorf("a pod without host ports: %v, published %d", err, len(published))
		}
	}
}

func TestHostPortsRefused(t *testing.T) {
	for _, test := range []struct {
		name    string
		off     bool
		mapping *rpc.PortMapping
		says    []string
	}{
		{"services are off", true, mapping("", 8080, 80, "tcp"), []string{"8080", "PROXY_MODE iptables or nftables", "portmap plugin"}},
		{"no host port", false, mapping("", 0, 80, "tcp"), []string{"port_mappings[0].host_port is 0", "1-65535"}},
		{"container port too high", false, mapping("", 80, 65536, "tcp"), []string{"container_port is 65536", "1-65535"}},
		{"protocol", false, mapping("", 80, 80, "TCP"), []string{`protocol is "TCP"`, "tcp, udp or sctp"}},
		{"host IP", false, mapping("node", 80, 80, "tcp"), []string{`host_ip is "node"`}},
		{"zone", false, mapping("fe80::1%eth0", 80, 80, "tcp"), []string{`host_ip is "fe80::1%eth0"`}},
	} {
		t.Run(test.name, func(t *testing.T) {
			s, book, conn := serveWith(t, Settings{HostPorts: !test.off})
			s.Open(book)
			_, err := service.NewIpamdClient(conn).Assign(t.Context(), &rpc.AssignRequest{Attachment: attachment("c1"), PortMappings: []*rpc.PortMapping{test.mapping}})
			code, why, message := reason(t, err)
			if code != codes.InvalidArgument || why != rpc.Reason_REASON_INVALID_REQUEST {
				t.Errorf("got %s, %s", code, why)
			}
			for _, words := range test.says {
				if !strings.Contains(message, words) {
					t.Errorf("%q does not say %q", message, words)
				}
			}
		})
	}
}

func TestTakenHostPortNamesItsHolder(t *testing.T) {
	s, book, conn := serveWith(t, Settings{HostPorts: true})
	s.Open(book)
	book.fail(&pool.PortTaken{Holder: pool.Assignment{Pod: pool.Pod{Namespace: "shop", Name: "web"}}})
	_, err := service.NewIpamdClient(conn).Assign(t.Context(), &rpc.AssignRequest{Attachment: attachment("c1")})
	code, why, message := reason(t, err)
	if code != codes.FailedPrecondition || why != rpc.Reason_REASON_HOST_PORT_TAKEN || !strings.Contains(message, "shop/web") {
		t.Errorf("got %s, %s, %q", code, why, message)
	}
}
