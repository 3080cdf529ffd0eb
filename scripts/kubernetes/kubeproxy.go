package kubernetes

import (
	"cmp"
	"context"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"

	"github.com/causeway-cni/causeway/scripts/release"
	"github.com/causeway-cni/causeway/scripts/release/oci"
)

const kubeProxyImage = "localhost/kube-proxy:v1"

// kubeProxy is what EKS runs on its nodes: a DaemonSet that finds the API server
// by a kubeconfig file of its own, and its settings in another. It sizes no
// connection tracking table, which is the machine's, and needs no modules, which
// it loads for IPVS only: without modprobe it does not clean up after IPVS when
// it starts in nftables mode, as it does after iptables. The variant of iptables
// is that of the directory of the image that PATH begins with.
const kubeProxy = `apiVersion: v1
kind: ServiceAccount
metadata: {name: kube-proxy, namespace: kube-system, labels: {k8s-app: kube-proxy}}
---
apiVersion: rbac.authorization.k8s.io/v1
kind: ClusterRoleBinding
metadata: {name: eks:kube-proxy, labels: {k8s-app: kube-proxy}}
roleRef: {apiGroup: rbac.authorization.k8s.io, kind: ClusterRole, name: system:node-proxier}
subjects: [{kind: ServiceAccount, name: kube-proxy, namespace: kube-system}]
---
apiVersion: v1
kind: ConfigMap
metadata: {name: kube-proxy, namespace: kube-system, labels: {k8s-app: kube-proxy}}
data:
  kubeconfig: |
    apiVersion: v1
    kind: Config
    clusters: [{name: default, cluster: {certificate-authority: /var/run/secrets/kubernetes.io/serviceaccount/ca.crt, server: %[1]q}}]
    contexts: [{name: default, context: {cluster: default, namespace: default, user: default}}]
    current-context: default
    users: [{name: default, user: {tokenFile: /var/run/secrets/kubernetes.io/serviceaccount/token}}]
---
apiVersion: v1
kind: ConfigMap
metadata: {name: kube-proxy-config, namespace: kube-system, labels: {k8s-app: kube-proxy}}
data:
  config: |
    apiVersion: kubeproxy.config.k8s.io/v1alpha1
    kind: KubeProxyConfiguration
    bindAddress: 0.0.0.0
    clientConnection: {kubeconfig: /var/lib/kube-proxy/kubeconfig}
    healthzBindAddress: 0.0.0.0:10256
    metricsBindAddress: 0.0.0.0:10249
    mode: %[2]s
    conntrack: {maxPerCore: 0, min: 0}
---
apiVersion: apps/v1
kind: DaemonSet
metadata: {name: kube-proxy, namespace: kube-system, labels: {k8s-app: kube-proxy}}
spec:
  selector: {matchLabels: {k8s-app: kube-proxy}}
  template:
    metadata: {labels: {k8s-app: kube-proxy}}
    spec:
      hostNetwork: true
      priorityClassName: system-node-critical
      serviceAccountName: kube-proxy
      terminationGracePeriodSeconds: 1
      tolerations: [{operator: Exists}]
      containers:
      - name: kube-proxy
        image: %[3]s
        imagePullPolicy: Never
        command: [kube-proxy, --v=2, --config=/var/lib/kube-proxy-config/config, --hostname-override=$(NODE_NAME)]
        env:
        - {name: NODE_NAME, valueFrom: {fieldRef: {fieldPath: spec.nodeName}}}
        - {name: PATH, value: "/%[4]s:/usr/sbin:/usr/bin"}
        securityContext: {privileged: true}
        volumeMounts:
        - {name: xtables-lock, mountPath: /run/xtables.lock}
        - {name: kubeconfig, mountPath: /var/lib/kube-proxy/}
        - {name: config, mountPath: /var/lib/kube-proxy-config/}
      volumes:
      - {name: xtables-lock, hostPath: {path: /run/xtables.lock, type: FileOrCreate}}
      - {name: kubeconfig, configMap: {name: kube-proxy}}
      - {name: config, configMap: {name: kube-proxy-config}}
`

// InstallKubeProxy runs the real kube-proxy on all nodes, in a mode, with a
// variant of iptables: nft or legacy; if it is empty, kubelet's, as the real image
// finds out. It returns when its pods run.
func (c *Cluster) InstallKubeProxy(ctx context.Context, mode, variant string) error {
	variant = cmp.Or(variant, "nft")
	if err := c.provideKubeProxy(ctx); err != nil {
		return err
	}
	if err := c.Apply(ctx, fmt.Sprintf(kubeProxy, Endpoint(), mode, kubeProxyImage, variant)); err != nil {
		return err
	}
	_, err := c.Kubectl(ctx, "-n", "kube-system", "rollout", "status", "daemonset/kube-proxy", "--timeout=2m")
	return err
}

// RemoveKubeProxy returns when its pods are gone. What it wrote on the nodes
// stays.
func (c *Cluster) RemoveKubeProxy(ctx context.Context) error {
	_, err := c.Kubectl(ctx, "-n", "kube-system", "delete", "daemonset,configmap,serviceaccount,clusterrolebinding", "-l", "k8s-app=kube-proxy", "--cascade=foreground")
	if err == nil {
		_, err = c.Kubectl(ctx, "-n", "kube-system", "wait", "--for=delete", "pods", "-l", "k8s-app=kube-proxy", "--timeout=1m")
	}
	return err
}

// provideKubeProxy makes its image, and gives it to all nodes that run. Most
// clusters need none.
func (c *Cluster) provideKubeProxy(ctx context.Context) error {
	archive := filepath.Join(c.dir, "kube-proxy.tar")
	if _, err := os.Stat(archive); err == nil {
		return nil
	}
	files, err := release.Base("/usr/sbin/nft")
	if err != nil {
		return err
	}
	program, err := os.ReadFile(c.tools.KubeProxy)
	if err != nil {
		return err
	}
	files = append(files, oci.File{Path: "usr/bin/kube-proxy", Mode: 0o755, Body: program})
	for _, variant := range []string{"nft", "legacy"} {
		for _, family := range []string{"iptables", "ip6tables"} {
			for _, verb := range []string{"", "-save", "-restore"} {
				files = append(files, oci.File{Path: variant + "/" + family + verb, Mode: fs.ModeSymlink, Link: "/usr/sbin/" + family + "-" + variant + verb})
			}
		}
	}
	if err := writeImage(archive, oci.Image{Name: kubeProxyImage, Arch: runtime.GOARCH, Files: files}); err != nil {
		return err
	}
	for _, n := range c.Nodes {
		if n.kubelet == nil || n.kubelet.Ended() {
			continue
		}
		if err := n.importImage(ctx, archive); err != nil {
			return err
		}
	}
	return nil
}
