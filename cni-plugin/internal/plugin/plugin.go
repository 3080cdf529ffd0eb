// Package plugin is the CNI plugin: ADD, DEL, CHECK, STATUS, GC and VERSION
// of CNI 1.1.0 and of the older versions that runtimes still speak.
//
// Each call is one exec, one RPC to ipamd with a deadline, and the netlink
// requests that the assignment asks for. It decides nothing: addresses come
// from ipamd, the wiring from podnet. It never reports success for a pod that
// is not wired, and never fails a DEL that a later call could not do better.
package plugin

import (
	"encoding/json"
	"time"

	"github.com/containernetworking/cni/pkg/skel"
	"github.com/containernetworking/cni/pkg/types"
	"github.com/containernetworking/cni/pkg/version"

	"github.com/causeway-cni/causeway/config"
	"github.com/causeway-cni/causeway/rpc"
)

// Plugin answers CNI calls. Its zero value is not useful; see New.
type Plugin struct {
	socket   string        // of ipamd, unless the network configuration says otherwise
	notes    string        // directory for release notes
	patience time.Duration // how long ADD waits for ipamd and for an address
}

// New returns the plugin with its defaults.
func New() Plugin {
	return Plugin{socket: config.Socket, notes: config.NotesDir, patience: 40 * time.Second}
}

// Versions are those of the CNI specification that the plugin speaks.
var Versions = version.PluginSupports("0.3.0", "0.3.1", "0.4.0", "1.0.0", "1.1.0")

// Funcs are the plugin's answers, for skel.
func (p Plugin) Funcs() skel.CNIFuncs {
	return skel.CNIFuncs{Add: p.add, Del: p.del, Check: p.check, GC: p.gc, Status: p.status}
}

// netConf is the plugin's part of the network configuration list.
type netConf struct {
	types.PluginConf
	Socket   string `json:"socket,omitempty"`   // of ipamd; default config.Socket
	NotesDir string `json:"notesDir,omitempty"` // for release notes; default config.NotesDir

	// RuntimeConfig is what the runtime fills in where the list declares the
	// capability portMappings: read where it is used, so that no DEL fails by it.
	RuntimeConfig struct {
		PortMappings json.RawMessage `json:"portMappings,omitempty"`
	} `json:"runtimeConfig"`
}

// podArgs are what Kubernetes' runtimes put into CNI_ARGS.
type podArgs struct {
	types.CommonArgs
	K8S_POD_NAMESPACE          types.UnmarshallableString
	K8S_POD_NAME               types.UnmarshallableString
	K8S_POD_UID                types.UnmarshallableString
	K8S_POD_INFRA_CONTAINER_ID types.UnmarshallableString
}

// call is one CNI call, read and checked.
type call struct {
	conf       netConf
	attachment *rpc.Attachment
	pod        *rpc.Pod
	netns      string
	prev       previous
	ports      []*rpc.PortMapping // host ports
	socket     string
	notes      string
}

// addresses are those that the ADD's result named.
func (c call) addresses() []string {
	var out []string
	for _, a := range c.prev.addresses {
		out = append(out, a.String())
	}
	return out
}

func (p Plugin) read(args *skel.CmdArgs) (call, error) {
	c := call{netns: args.Netns, socket: p.socket, notes: p.notes}
	if err := json.Unmarshal(args.StdinData, &c.conf); err != nil {
		return c, types.NewError(types.ErrDecodingFailure, "reading the network configuration: "+err.Error(), "")
	}
	prev, err := readPrevious(&c.conf.PluginConf)
	if err != nil {
		return c, types.NewError(types.ErrDecodingFailure, err.Error(), "")
	}
	c.prev = prev
	if c.conf.Socket != "" {
		c.socket = c.conf.Socket
	}
	if c.conf.NotesDir != "" {
		c.notes = c.conf.NotesDir
	}
	var pod podArgs
	if err := types.LoadArgs(args.Args, &pod); err != nil && args.Args != "" {
		pod.IgnoreUnknown = true
		if err := types.LoadArgs(args.Args, &pod); err != nil {
			return c, types.NewError(types.ErrInvalidEnvironmentVariables, "reading CNI_ARGS "+args.Args+": "+err.Error(), "")
		}
	}
	c.attachment = &rpc.Attachment{Network: c.conf.Name, ContainerId: args.ContainerID, Interface: args.IfName}
	c.pod = &rpc.Pod{Namespace: string(pod.K8S_POD_NAMESPACE), Name: string(pod.K8S_POD_NAME), Uid: string(pod.K8S_POD_UID)}
	return c, nil
}
