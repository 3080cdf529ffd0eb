package kubernetes

import (
	"context"
	"fmt"

	"github.com/causeway-cni/causeway/scripts/release"
)

// Upgrade applies the chart, as a user would who has no Helm, with further values
// to those of the cluster; they last until the next Upgrade. It returns before
// the nodes have them.
func (c *Cluster) Upgrade(ctx context.Context, more ...string) error {
	return c.UpgradeRelease(ctx, "causeway", more...)
}

// UpgradeRelease is Upgrade for a release of another name.
func (c *Cluster) UpgradeRelease(ctx context.Context, name string, more ...string) error {
	values := []string{
		"image.repository=" + causewayName, "image.tag=" + causewayTag, "image.pullPolicy=Never",
		"env.CLUSTER_ENDPOINT=" + Endpoint(), "env.CLUSTER_NAME=" + c.name, "env.AWS_EC2_ENDPOINT=" + ec2Endpoint,
	}
	if c.options.ProxyMode != "" {
		values = append(values, "env.PROXY_MODE="+c.options.ProxyMode)
	}
	manifests, err := release.ManifestsOf(ctx, name, append(values, more...)...)
	if err != nil {
		return err
	}
	return c.Apply(ctx, string(manifests))
}

// ec2Endpoint is where the simulator answers as EC2; on AWS, DNS tells.
const ec2Endpoint = "http://169.254.171.1"

// dns is CoreDNS with the files and the names that clusters give it. It is not
// ready before it has read services through their own cluster IP, so that it
// only serves where the node's services do. Its pods wait for a node each, or
// both would be on the first that is ready.
const dns = `apiVersion: v1
kind: ServiceAccount
metadata: {name: coredns, namespace: kube-system}
---
apiVersion: rbac.authorization.k8s.io/v1
kind: ClusterRole
metadata: {name: system:coredns}
rules:
- {apiGroups: [""], resources: [services, pods, namespaces], verbs: [list, watch]}
- {apiGroups: [discovery.k8s.io], resources: [endpointslices], verbs: [list, watch]}
---
apiVersion: rbac.authorization.k8s.io/v1
kind: ClusterRoleBinding
metadata: {name: system:coredns}
roleRef: {apiGroup: rbac.authorization.k8s.io, kind: ClusterRole, name: system:coredns}
subjects: [{kind: ServiceAccount, name: coredns, namespace: kube-system}]
---
apiVersion: v1
kind: ConfigMap
metadata: {name: coredns, namespace: kube-system}
data:
  Corefile: |
    .:53 {
        errors
        health
        ready
        kubernetes cluster.local in-addr.arpa {
            pods insecure
        }
        cache 5
        loop
    }
---
apiVersion: apps/v1
kind: Deployment
metadata: {name: coredns, namespace: kube-system, labels: {k8s-app: kube-dns}}
spec:
  replicas: 2
  selector: {matchLabels: {k8s-app: kube-dns}}
  template:
    metadata: {labels: {k8s-app: kube-dns}}
    spec:
      serviceAccountName: coredns
      priorityClassName: system-cluster-critical
      dnsPolicy: Default
      tolerations: [{key: node-role.kubernetes.io/control-plane, effect: NoSchedule}, {key: CriticalAddonsOnly, operator: Exists}]
      topologySpreadConstraints:
      - {maxSkew: 1, topologyKey: kubernetes.io/hostname, whenUnsatisfiable: DoNotSchedule, minDomains: %d, nodeTaintsPolicy: Honor, labelSelector: {matchLabels: {k8s-app: kube-dns}}}
      containers:
      - name: coredns
        image: %s
        imagePullPolicy: Never
        args: [-conf, /etc/coredns/Corefile]
        ports:
        - {name: dns, containerPort: 53, protocol: UDP}
        - {name: dns-tcp, containerPort: 53, protocol: TCP}
        readinessProbe: {httpGet: {path: /ready, port: 8181}, periodSeconds: 1}
        livenessProbe: {httpGet: {path: /health, port: 8080}, initialDelaySeconds: 60, timeoutSeconds: 5}
        volumeMounts: [{name: config, mountPath: /etc/coredns, readOnly: true}]
      volumes: [{name: config, configMap: {name: coredns}}]
---
apiVersion: v1
kind: Service
metadata: {name: kube-dns, namespace: kube-system, labels: {k8s-app: kube-dns, kubernetes.io/name: CoreDNS}}
spec:
  clusterIP: %s
  selector: {k8s-app: kube-dns}
  ports:
  - {name: dns, port: 53, protocol: UDP}
  - {name: dns-tcp, port: 53, protocol: TCP}
`

func (c *Cluster) installDNS(ctx context.Context) error {
	return c.Apply(ctx, fmt.Sprintf(dns, min(2, c.options.Nodes), dnsImage, dnsService))
}
