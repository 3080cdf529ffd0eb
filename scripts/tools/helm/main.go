// Command helm renders the chart as `helm template` does, with Helm's own
// engine, for machines that have no Helm. It is a module of its own, so that
// what Helm needs stays out of the product's.
//
//	helm [-namespace NAME] [-version VERSION] [-set NAME=VALUE]... CHART [VALUES.yaml...]
//
// Values are checked against the chart's schema first, as Helm does it. CRDs
// come first, as `helm install` makes them before all else.
package main

import (
	"cmp"
	"flag"
	"fmt"
	"io"
	"maps"
	"os"
	"path"
	"slices"
	"strings"

	"helm.sh/helm/v3/pkg/chart"
	"helm.sh/helm/v3/pkg/chart/loader"
	"helm.sh/helm/v3/pkg/chartutil"
	"helm.sh/helm/v3/pkg/engine"
	"helm.sh/helm/v3/pkg/strvals"
)

func main() {
	if err := run(os.Stdout, os.Args[1:]); err != nil {
		fmt.Fprintln(os.Stderr, "helm:", err)
		os.Exit(1)
	}
}

func run(out io.Writer, args []string) error {
	values := map[string]any{}
	flags := flag.NewFlagSet("helm", flag.ContinueOnError)
	namespace := flags.String("namespace", "kube-system", "namespace of the release")
	name := flags.String("name", "causeway", "name of the release")
	version := flags.String("version", "", "version of what is released, in place of the chart's appVersion")
	flags.Func("set", "set a value, as NAME=VALUE; may be given more than once", func(s string) error {
		return strvals.ParseInto(s, values)
	})
	if err := flags.Parse(args); err != nil {
		return err
	}
	if flags.NArg() == 0 {
		return fmt.Errorf("the chart's directory is missing")
	}
	c, err := loader.Load(flags.Arg(0))
	if err != nil {
		return fmt.Errorf("loading the chart: %w", err)
	}
	c.Metadata.AppVersion = cmp.Or(*version, c.Metadata.AppVersion)
	for _, file := range slices.Backward(flags.Args()[1:]) { // the last one wins
		more, err := chartutil.ReadValuesFile(file)
		if err != nil {
			return fmt.Errorf("reading values: %w", err)
		}
		values = chartutil.CoalesceTables(values, more)
	}
	return render(out, c, values, chartutil.ReleaseOptions{Name: *name, Namespace: *namespace, Revision: 1, IsInstall: true})
}

func render(out io.Writer, c *chart.Chart, values chartutil.Values, release chartutil.ReleaseOptions) error {
	all, err := chartutil.ToRenderValues(c, values, release, chartutil.DefaultCapabilities)
	if err != nil {
		return err
	}
	rendered, err := engine.Render(c, all)
	if err != nil {
		return err
	}
	for _, crd := range c.CRDObjects() {
		if err := write(out, crd.Filename, string(crd.File.Data)); err != nil {
			return err
		}
	}
	for _, file := range slices.Sorted(maps.Keys(rendered)) {
		// As with Helm, what begins with an underscore and notes are no manifests.
		if base := path.Base(file); strings.HasPrefix(base, "_") || base == "NOTES.txt" || strings.TrimSpace(rendered[file]) == "" {
			continue
		}
		if err := write(out, file, rendered[file]); err != nil {
			return err
		}
	}
	return nil
}

func write(out io.Writer, source, text string) error {
	_, err := fmt.Fprintf(out, "---\n# Source: %s\n%s\n", source, strings.TrimSpace(text))
	return err
}
