package kubernetes

import (
	"fmt"
	"os"
)

// containerdConfig has what containerd of Debian 12 (1.6) and later ones take.
const containerdConfig = `version = 2
[metrics]
  address = "127.0.0.1:1338"
[plugins."io.containerd.grpc.v1.cri"]
  sandbox_image = %q
  disable_apparmor = true
  restrict_oom_score_adj = true
  [plugins."io.containerd.grpc.v1.cri".cni]
    bin_dir = "/opt/cni/bin"
    conf_dir = "/etc/cni/net.d"
  [plugins."io.containerd.grpc.v1.cri".containerd]
    default_runtime_name = "runc"
    [plugins."io.containerd.grpc.v1.cri".containerd.runtimes.runc]
      runtime_type = "io.containerd.runc.v2"
      [plugins."io.containerd.grpc.v1.cri".containerd.runtimes.runc.options]
        SystemdCgroup = false
`

// kubeletConfig leaves control groups to the runtime, and evicts no pod for want
// of what the nodes share.
const kubeletConfig = `apiVersion: kubelet.config.k8s.io/v1beta1
kind: KubeletConfiguration
authentication: {anonymous: {enabled: false}, webhook: {enabled: true}, x509: {clientCAFile: %q}}
authorization: {mode: Webhook}
clusterDNS: [%s]
clusterDomain: cluster.local
containerRuntimeEndpoint: unix:///run/containerd/containerd.sock
providerID: %s
maxPods: %d
cgroupDriver: cgroupfs
cgroupsPerQOS: false
enforceNodeAllocatable: []
failCgroupV1: false
failSwapOn: false
resolvConf: ""
localStorageCapacityIsolation: false
imageGCHighThresholdPercent: 100
evictionHard: {memory.available: "0%%", nodefs.available: "0%%", nodefs.inodesFree: "0%%", imagefs.available: "0%%"}
staticPodPath: %q
nodeStatusUpdateFrequency: 4s
`

func (n *Node) writeConfigs() error {
	c := n.cluster
	if err := c.authority.writeKubeconfig(n.file("kubeconfig"), Endpoint(), "system:node:"+n.Name, "system:nodes"); err != nil {
		return err
	}
	if err := os.MkdirAll(n.StaticPods(), 0o700); err != nil {
		return err
	}
	if err := os.WriteFile(n.file("containerd.toml"), fmt.Appendf(nil, containerdConfig, pauseImage), 0o600); err != nil {
		return err
	}
	return os.WriteFile(n.file("kubelet.yaml"), fmt.Appendf(nil, kubeletConfig, c.authority.file(), dnsService,
		fmt.Sprintf("aws:///%s/%s", n.zone, n.instance), maxPods, n.StaticPods()), 0o600)
}

// StaticPods is the folder of the manifests by which kubelet runs pods without
// asking the API server.
func (n *Node) StaticPods() string { return n.file("static-pods") }
