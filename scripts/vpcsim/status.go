package main

import (
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"net/netip"
	"slices"
	"strings"
	"text/tabwriter"

	"github.com/spf13/cobra"

	"github.com/causeway-cni/causeway/scripts/vpcsim/control"
	"github.com/causeway-cni/causeway/scripts/vpcsim/internal/daemon"
)

// status is what the daemon tells, and where its files are.
type status struct {
	control.Status
	Name       string       `json:"name"`
	Socket     string       `json:"controlSocket"`
	Log        string       `json:"log"`
	RequestLog string       `json:"requestLog"`
	Kubeconfig string       `json:"kubeconfig"`
	Nodes      []nodeStatus `json:"nodes"`
}

type nodeStatus struct {
	control.NodeStatus
	PID     int        `json:"pid"` // for nsenter; 0 if the node has ended
	Address netip.Addr `json:"address"`
	Dir     string     `json:"dir"` // has the node's own directories under root/
}

func newStatus(s *simulatorFlag) *cobra.Command {
	var asJSON bool
	cmd := &cobra.Command{
		Use:   "status",
		Short: "Show nodes, interfaces, subnets and load balancers",
		Args:  cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			client, err := s.client()
			if err != nil {
				return err
			}
			told, err := client.Status(cmd.Context())
			if err != nil {
				return err
			}
			state, err := s.state()
			if err != nil {
				return err
			}
			st := newStatusOf(state, told)
			if asJSON {
				return printJSON(cmd.OutOrStdout(), st)
			}
			return st.print(cmd.OutOrStdout())
		},
	}
	cmd.Flags().BoolVar(&asJSON, "json", false, "print JSON")
	return cmd
}

func newStatusOf(state daemon.State, told control.Status) status {
	st := status{Status: told, Name: state.Name, Socket: state.Socket(), Log: state.Log(), RequestLog: state.RequestLog(), Kubeconfig: state.Kubeconfig()}
	for _, n := range told.Nodes {
		one := nodeStatus{NodeStatus: n, Dir: state.NodeDir(n.Name)}
		if pid, err := state.NodePID(n.Name); err == nil {
			one.PID = pid
		}
		if len(n.Interfaces) > 0 && len(n.Interfaces[0].Addresses) > 0 {
			one.Address = n.Interfaces[0].Addresses[0]
		}
		st.Nodes = append(st.Nodes, one)
	}
	return st
}

func printJSON(w io.Writer, v any) error {
	e := json.NewEncoder(w)
	e.SetIndent("", "  ")
	return e.Encode(v)
}

func (s status) print(out io.Writer) error {
	w := tabwriter.NewWriter(out, 0, 0, 2, ' ', 0)
	fmt.Fprintf(w, "simulator %s  %s  %s  %v  seed %d\n", s.Name, s.VPCID, s.Region, s.CIDRs, s.Seed)
	fmt.Fprintf(w, "log %s\nrequests %s\nkubernetes %s  kubeconfig %s\n\n", s.Log, s.RequestLog, s.ClusterEndpoint, s.Kubeconfig)
	fmt.Fprintln(w, "SUBNET\tID\tZONE\tCIDR\tEGRESS\tFREE\tTENANTS")
	for _, n := range s.Subnets {
		fmt.Fprintf(w, "%s\t%s\t%s\t%s\t%s\t%d\t%d\n", n.Name, n.ID, n.Zone, strings.TrimSpace(n.CIDR+" "+n.IPv6CIDR), n.Egress, n.Free, n.Tenants)
	}
	fmt.Fprintln(w, "\nNODE\tINSTANCE\tTYPE\tSTATE\tADDRESS\tNAMESPACE\tPID")
	for _, n := range s.Nodes {
		fmt.Fprintf(w, "%s\t%s\t%s\t%s\t%s\t%s\t%d\n", n.Name, n.InstanceID, n.Type, n.State, n.Address, n.Namespace, n.PID)
	}
	fmt.Fprintln(w, "\nNODE\tDEVICE\tENI\tMAC\tSUBNET\tSTATUS\tADDRESSES\tPUBLIC")
	for _, n := range s.Nodes {
		for _, i := range n.Interfaces {
			fmt.Fprintf(w, "%s\t%d\t%s\t%s\t%s\t%s\t%s\t%s\n", n.Name, i.DeviceIndex, i.ID, i.MAC, i.Subnet, i.Status,
				brief(i), strings.Join(slices.Sorted(maps.Values(i.Public)), ","))
		}
	}
	for _, i := range s.Detached {
		fmt.Fprintf(w, "-\t-\t%s\t%s\t%s\t%s\t%s\t\n", i.ID, i.MAC, i.Subnet, i.Status, brief(i))
	}
	if len(s.LoadBalancers) > 0 {
		fmt.Fprintln(w)
		printBalancers(w, s.LoadBalancers)
	}
	fmt.Fprintln(w, "\nENVIRONMENT")
	for _, n := range s.Nodes {
		var words []string
		for _, k := range slices.Sorted(maps.Keys(n.Env)) {
			words = append(words, k+"="+n.Env[k])
		}
		fmt.Fprintf(w, "%s\t%s\n", n.Name, strings.Join(words, " "))
	}
	return w.Flush()
}

// brief is an ENI's first address and how much more there is.
func brief(i control.InterfaceStatus) string {
	if len(i.Addresses) == 0 {
		return "none"
	}
	text := i.Addresses[0].String()
	if n := len(i.Addresses) - 1; n > 0 {
		text += fmt.Sprintf(" +%d", n)
	}
	if n := len(i.Prefixes); n > 0 {
		text += fmt.Sprintf(" and %d prefixes", n)
	}
	return text
}
