package kubeproxy

import (
	"errors"
	"fmt"
	"os"
	"slices"
	"strings"

	"github.com/spf13/pflag"
	"k8s.io/kube-proxy/config/v1alpha1"
)

// Load reads the arguments, and the file that --config names. The warnings
// name what was accepted and makes no difference. The error names all that is
// refused, each with its value and what would be right.
func Load(args []string) (Config, []string, error) {
	c := newCommand()
	if err := c.flags.Parse(args); errors.Is(err, pflag.ErrHelp) {
		return Config{Task: Help}, nil, nil
	} else if err != nil {
		return Config{}, nil, fmt.Errorf("%w: want the flags of kube-proxy v1.36, which --help lists", err)
	}
	if rest := c.flags.Args(); len(rest) > 0 {
		return Config{}, nil, fmt.Errorf("argument %q: want flags alone", rest[0])
	}
	if c.version != "false" {
		return Config{Task: Version}, nil, nil
	}
	r := &reading{kp: &c.told, file: c.config != ""}
	if r.file {
		fromFile, dropped, err := readFile(c.config)
		if err != nil {
			return Config{}, nil, err
		}
		r.kp, r.warnings = &fromFile, append(c.overruled(), dropped...)
		if c.flags.Changed("v") {
			r.kp.Logging.Verbosity = c.told.Logging.Verbosity
		}
	} else {
		c.settle(r)
	}
	c.warnUnused(r)
	out := r.config()
	c.apply(r, &out)
	if len(r.faults) > 0 {
		return Config{}, r.warnings, errors.Join(r.faults...)
	}
	return out, r.warnings, nil
}

// Usage lists all flags.
func Usage() string { return newCommand().flags.FlagUsages() }

func readFile(path string) (v1alpha1.KubeProxyConfiguration, []string, error) {
	data, err := os.ReadFile(path)
	if err != nil {
		return v1alpha1.KubeProxyConfiguration{}, nil, fmt.Errorf("reading --config: %w", err)
	}
	kp, warnings, err := decode(data)
	if err != nil {
		return kp, nil, fmt.Errorf("reading --config %s: %w", path, err)
	}
	withDefaults(&kp)
	return kp, warnings, nil
}

// besideFile are the flags that count with --config, too.
var besideFile = []string{"config", "hostname-override", "master", "cleanup", "init-only", "write-config-to", "v"}

// overruled names the flags that do not count because of the file.
func (c *command) overruled() []string {
	var warnings []string
	c.flags.Visit(func(f *pflag.Flag) {
		if !slices.Contains(besideFile, f.Name) && !slices.Contains(unused, f.Name) {
			warnings = append(warnings, fmt.Sprintf("--%s=%s does not count: --config is given, and the file decides", f.Name, f.Value))
		}
	})
	return warnings
}

// apply adds what only flags say.
func (c *command) apply(r *reading, out *Config) {
	out.Server = c.master
	switch {
	case c.cleanup:
		out.Task = Cleanup
	case c.initOnly:
		out.Task = Init
	}
	if c.flags.Changed("hostname-override") && c.hostname != "" {
		if strings.TrimSpace(c.hostname) == "" {
			r.refuse("hostname-override", "", c.hostname, "the name of this node's Node")
		}
		out.Kube.NodeName = strings.ToLower(strings.TrimSpace(c.hostname))
	}
	if c.writeConfigTo != "" {
		r.refuse("write-config-to", "", c.writeConfigTo, "it left out: no file is written")
	}
}
