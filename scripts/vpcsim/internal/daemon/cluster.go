package daemon

import (
	"fmt"
	"net/netip"
	"os"
	"path/filepath"

	"sigs.k8s.io/yaml"

	"github.com/causeway-cni/causeway/scripts/vpcsim/internal/fabric"
	"github.com/causeway-cni/causeway/scripts/vpcsim/internal/node"
	"github.com/causeway-cni/causeway/scripts/vpcsim/internal/vpc"
)

// NodeKubeconfig is where a node finds its kubeconfig, as on EKS.
const NodeKubeconfig = "/var/lib/kubelet/kubeconfig"

// kubeconfig is a file that kubectl and client-go read.
const kubeconfig = `apiVersion: v1
kind: Config
clusters:
- name: vpcsim
  cluster: {server: %q}
contexts:
- name: vpcsim
  context: {cluster: vpcsim, user: anyone}
current-context: vpcsim
users:
- name: anyone
  user: {}
`

func endpointOf(a netip.Addr) string { return "http://" + a.String() }

// Endpoint is the URL of the Kubernetes API, read from the kubeconfig.
func (s State) Endpoint() (string, error) {
	data, err := os.ReadFile(s.Kubeconfig())
	if err != nil {
		return "", fmt.Errorf("reading where the Kubernetes API is: %w", err)
	}
	var config struct {
		Clusters []struct {
			Cluster struct {
				Server string `json:"server"`
			} `json:"cluster"`
		} `json:"clusters"`
	}
	if err := yaml.Unmarshal(data, &config); err != nil {
		return "", fmt.Errorf("reading %s: %w", s.Kubeconfig(), err)
	}
	if len(config.Clusters) != 1 {
		return "", fmt.Errorf("reading %s: it has %d clusters, not one", s.Kubeconfig(), len(config.Clusters))
	}
	return config.Clusters[0].Cluster.Server, nil
}

// writeKubeconfig leaves word of the Kubernetes API in the state folder.
func (d *daemon) writeKubeconfig() error {
	d.endpoint = endpointOf(fabric.ControlPlane(d.sim.Model.View()))
	if err := os.WriteFile(d.state.Kubeconfig(), fmt.Appendf(nil, kubeconfig, d.endpoint), 0o644); err != nil {
		return fmt.Errorf("writing the kubeconfig: %w", err)
	}
	return nil
}

// giveKubeconfig gives a node its copy.
func (d *daemon) giveKubeconfig(name string) error {
	dir, file := filepath.Split(NodeKubeconfig)
	path := filepath.Join(node.Root(d.state.NodeDir(name), dir), file)
	if err := os.WriteFile(path, fmt.Appendf(nil, kubeconfig, d.endpoint), 0o644); err != nil {
		return fmt.Errorf("writing the kubeconfig of node %s: %w", name, err)
	}
	return nil
}

// joinCluster makes a Node of each instance that has none yet, and removes
// those whose instances have ended; what users change of a Node stays.
func (d *daemon) joinCluster(v vpc.View) error {
	primary := map[string]vpc.InterfaceView{}
	for _, i := range v.Interfaces {
		if i.DeviceIndex == 0 && i.NetworkCard == 0 {
			primary[i.Node] = i
		}
	}
	for _, i := range d.sim.Model.Instances() {
		eni, running := primary[i.Node]
		switch joined := d.joined[i.Node]; {
		case running && !joined:
			if _, err := d.sim.Cluster.Apply(nodeObject(i, eni, d.sim.Model.Topology().Region)); err != nil {
				return err
			}
			d.joined[i.Node] = true
		case !running && joined:
			if err := d.sim.Cluster.Delete("Node", "", i.Node); err != nil {
				d.log.Info("the Node of an instance that ended was gone", "node", i.Node, "err", err)
			}
			delete(d.joined, i.Node)
		}
	}
	return nil
}

func nodeObject(i vpc.Instance, eni vpc.InterfaceView, region string) map[string]any {
	addresses := []any{}
	for _, a := range eni.Addresses {
		if a == eni.Addresses[0] || a.Is6() {
			addresses = append(addresses, map[string]any{"type": "InternalIP", "address": a.String()})
		}
	}
	if public := eni.Public[eni.Addresses[0]]; public.IsValid() {
		addresses = append(addresses, map[string]any{"type": "ExternalIP", "address": public.String()})
	}
	addresses = append(addresses, map[string]any{"type": "Hostname", "address": i.Node})
	return map[string]any{
		"kind": "Node",
		"metadata": map[string]any{"name": i.Node, "labels": map[string]any{
			"kubernetes.io/hostname":           i.Node,
			"kubernetes.io/os":                 "linux",
			"node.kubernetes.io/instance-type": i.Type,
			"topology.kubernetes.io/region":    region,
			"topology.kubernetes.io/zone":      i.Zone,
		}},
		"spec": map[string]any{"providerID": fmt.Sprintf("aws:///%s/%s", i.Zone, i.ID)},
		"status": map[string]any{
			"addresses":  addresses,
			"conditions": []any{map[string]any{"type": "Ready", "status": "True", "reason": "KubeletReady"}},
		},
	}
}
