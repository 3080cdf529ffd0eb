package main

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
	"strings"
	"text/tabwriter"

	"github.com/spf13/cobra"
	"sigs.k8s.io/yaml"

	"github.com/causeway-cni/causeway/scripts/vpcsim/control"
)

func newKube(s *simulatorFlag) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "kube",
		Short: "Change the objects of the cluster: services, endpoint slices, nodes",
		Long: `Change the objects of the cluster.

The simulator has a small Kubernetes API, which nodes and pods reach at the URL
that "vpcsim status" shows; "vpcsim exec" sets CLUSTER_ENDPOINT, KUBECONFIG and
MY_NODE_NAME. It has a Node for each instance and gives services addresses and
node ports. No controller runs: endpoint slices are as they are written.
"vpcsim fault add '{action: Kubernetes, effect: {away: true}}'" takes it away.`,
		Example: `  vpcsim kube apply -f services.yaml
  vpcsim kube get services
  vpcsim kube get endpointslices -o yaml
  vpcsim kube delete service default/web
  vpcsim exec router -- curl -s http://10.0.0.3/api/v1/nodes`,
	}
	cmd.AddCommand(newKubeApply(s), newKubeGet(s), newKubeDelete(s))
	return cmd
}

func newKubeApply(s *simulatorFlag) *cobra.Command {
	var file string
	cmd := &cobra.Command{
		Use:   "apply -f FILE",
		Short: "Make objects what a file says",
		Long: `Make objects what a file says, in YAML documents or JSON, lists included. What is
left out is removed, but for the status, and the address and node ports of a
service.`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			text, err := readInput(file)
			if err != nil {
				return err
			}
			objects, err := parseObjects(text)
			if err != nil {
				return err
			}
			client, err := s.client()
			if err != nil {
				return err
			}
			applied, err := client.Apply(cmd.Context(), objects...)
			if err != nil {
				return err
			}
			for _, o := range applied {
				if _, err := fmt.Fprintln(cmd.OutOrStdout(), strings.ToLower(fmt.Sprint(o["kind"])), objectID(o)); err != nil {
					return err
				}
			}
			return nil
		},
	}
	cmd.Flags().StringVarP(&file, "file", "f", "", "objects in YAML or JSON, - is standard input")
	return cmd
}

// parseObjects reads YAML documents; a List is the objects in it.
func parseObjects(text []byte) ([]control.Object, error) {
	var out []control.Object
	for n, document := range documents(text) {
		var o control.Object
		if err := yaml.Unmarshal(document, &o); err != nil {
			return nil, fmt.Errorf("reading object %d: %w", n+1, err)
		}
		if len(o) == 0 {
			continue
		}
		items, isList := o["items"].([]any)
		if !isList {
			out = append(out, o)
			continue
		}
		for i, item := range items {
			one, ok := item.(map[string]any)
			if !ok {
				return nil, fmt.Errorf("reading object %d: items[%d] is not an object", n+1, i)
			}
			out = append(out, one)
		}
	}
	if len(out) == 0 {
		return nil, errors.New("no object given: name a file with -f")
	}
	return out, nil
}

// documents splits at the lines that are "---".
func documents(text []byte) [][]byte {
	out := [][]byte{nil}
	lines := bufio.NewScanner(bytes.NewReader(text))
	lines.Buffer(nil, len(text)+1)
	for lines.Scan() {
		if strings.TrimRight(lines.Text(), " ") == "---" {
			out = append(out, nil)
			continue
		}
		last := &out[len(out)-1]
		*last = append(append(*last, lines.Bytes()...), '\n')
	}
	return out
}

func newKubeGet(s *simulatorFlag) *cobra.Command {
	var output string
	cmd := &cobra.Command{
		Use:   "get KIND",
		Short: "Show the objects of a kind",
		Args:  cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			client, err := s.client()
			if err != nil {
				return err
			}
			all, err := client.Objects(cmd.Context(), args[0])
			if err != nil {
				return err
			}
			switch output {
			case "json":
				return printJSON(cmd.OutOrStdout(), all)
			case "yaml":
				return printYAML(cmd.OutOrStdout(), all)
			case "":
				return printObjects(cmd.OutOrStdout(), all)
			}
			return fmt.Errorf("output %q: use json or yaml, or leave it out", output)
		},
	}
	cmd.Flags().StringVarP(&output, "output", "o", "", "json or yaml (default: a table)")
	return cmd
}

func printYAML(w io.Writer, all []control.Object) error {
	for _, o := range all {
		text, err := yaml.Marshal(o)
		if err != nil {
			return fmt.Errorf("printing %s: %w", objectID(o), err)
		}
		if _, err := fmt.Fprintf(w, "---\n%s", text); err != nil {
			return err
		}
	}
	return nil
}

// printObjects prints a line each, with what matters for the known kinds.
func printObjects(out io.Writer, all []control.Object) error {
	w := tabwriter.NewWriter(out, 0, 0, 2, ' ', 0)
	fmt.Fprintln(w, "NAME\tVERSION\tABOUT")
	for _, o := range all {
		meta, _ := o["metadata"].(map[string]any)
		fmt.Fprintf(w, "%s\t%v\t%s\n", objectID(o), meta["resourceVersion"], about(o))
	}
	return w.Flush()
}

// objectID is NAMESPACE/NAME, or NAME.
func objectID(o control.Object) string {
	meta, _ := o["metadata"].(map[string]any)
	if meta["namespace"] == nil {
		return fmt.Sprint(meta["name"])
	}
	return fmt.Sprintf("%v/%v", meta["namespace"], meta["name"])
}

func about(o control.Object) string {
	spec, _ := o["spec"].(map[string]any)
	var words []string
	switch o["kind"] {
	case "Service":
		words = append(words, fmt.Sprint(spec["type"]), fmt.Sprint(spec["clusterIP"]))
		for _, p := range mapsOf(spec["ports"]) {
			word := fmt.Sprintf("%v/%v", p["port"], p["protocol"])
			if p["nodePort"] != nil {
				word = fmt.Sprintf("%v:%v/%v", p["port"], p["nodePort"], p["protocol"])
			}
			words = append(words, word)
		}
	case "EndpointSlice":
		for _, e := range mapsOf(o["endpoints"]) {
			if addresses, ok := e["addresses"].([]any); ok && len(addresses) > 0 {
				words = append(words, fmt.Sprint(addresses[0]))
			}
		}
	case "Node":
		status, _ := o["status"].(map[string]any)
		for _, a := range mapsOf(status["addresses"]) {
			words = append(words, fmt.Sprintf("%v=%v", a["type"], a["address"]))
		}
	case "Pod":
		status, _ := o["status"].(map[string]any)
		words = known(spec["nodeName"], status["phase"], status["podIP"])
	case "ENIConfig":
		groups, _ := spec["securityGroups"].([]any)
		words = known(append([]any{spec["subnet"]}, groups...)...)
	case "Event":
		object, _ := o["involvedObject"].(map[string]any)
		words = known(object["kind"], object["name"], o["reason"], fmt.Sprintf("x%v", o["count"]), o["message"])
	}
	return strings.Join(words, " ")
}

// known are the values that there are.
func known(values ...any) (out []string) {
	for _, v := range values {
		if v != nil {
			out = append(out, fmt.Sprint(v))
		}
	}
	return out
}

func mapsOf(list any) (out []map[string]any) {
	all, _ := list.([]any)
	for _, each := range all {
		if m, ok := each.(map[string]any); ok {
			out = append(out, m)
		}
	}
	return out
}

func newKubeDelete(s *simulatorFlag) *cobra.Command {
	return &cobra.Command{
		Use:   "delete KIND [NAMESPACE/]NAME...",
		Short: "Delete objects",
		Args:  cobra.MinimumNArgs(2),
		RunE: func(cmd *cobra.Command, args []string) error {
			client, err := s.client()
			if err != nil {
				return err
			}
			for _, id := range args[1:] {
				namespace, name, ok := strings.Cut(id, "/")
				if !ok {
					namespace, name = "default", id
				}
				if err := client.DeleteObject(cmd.Context(), args[0], namespace, name); err != nil {
					return err
				}
			}
			return nil
		},
	}
}
