//go:build cluster

package stories

import (
	"strings"
)

// services are reached by their names and by every kind of address, from a pod
// and from a host's network, DNS asked over UDP and over TCP.
func services(s story) {
	s.web(2)
	s.client("client", "")
	s.client("over-tcp", "  dnsConfig: {options: [{name: use-vc}]}\n")
	s.client("on-host", "  hostNetwork: true\n  dnsPolicy: ClusterFirstWithHostNet\n")
	s.apply(`apiVersion: v1
kind: Service
metadata: {name: headless, namespace: %[1]s}
spec: {clusterIP: None, selector: {app: web}, ports: [{port: 80}]}
---
apiVersion: v1
kind: Service
metadata: {name: alias, namespace: %[1]s}
spec: {type: ExternalName, externalName: web.%[1]s.svc.cluster.local}
`, s.space)
	ports := strings.Fields(s.kubectl("get", "service", "web", "-o", "jsonpath={.spec.ports[*].nodePort}"))
	for _, pod := range []string{"client", "over-tcp", "on-host"} {
		s.probe(pod, "tcp", "web:80", "--count", "10")
		s.probe(pod, "udp", "web:80", "--count", "10")
		for _, name := range []string{"headless", "alias"} {
			s.eventually(name+" from "+pod, func() error {
				_, err := s.cluster.Kubectl(s.ctx, "-n", s.space, "exec", pod, "--", "vpcsim", "probe", "tcp", name+":80")
				return err
			})
		}
		for _, n := range s.cluster.Nodes[:2] {
			s.probe(pod, "tcp", n.Addr.String()+":"+ports[0])
			s.probe(pod, "udp", n.Addr.String()+":"+ports[1])
		}
	}
}
