// Command causeway-cni is the CNI plugin of Causeway. A container runtime runs
// it for each pod that comes or goes; see https://www.cni.dev/docs/spec.
package main

import (
	"github.com/containernetworking/cni/pkg/skel"

	"github.com/causeway-cni/causeway/cni-plugin/internal/plugin"
	"github.com/causeway-cni/causeway/rpc"
)

func main() {
	skel.PluginMainFuncs(plugin.New().Funcs(), plugin.Versions, "causeway-cni "+rpc.Version+": addresses of the VPC for pods")
}
