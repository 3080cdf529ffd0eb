package ruleset

import (
	"bytes"
	"io"
	"strings"
)

// Census is what tells which variant of iptables a node uses.
type Census struct {
	Kubelet int // chains that kubelet makes
	Cluster int // rules of, or that lead to, chains of kube-proxy and aws-node
	All     int // rules
}

// kubeletChains are made by kubelet alone, in the variant that it uses.
var kubeletChains = []string{"KUBE-IPTABLES-HINT", "KUBE-KUBELET-CANARY"}

// Count reads the output of iptables-save as it comes.
func Count(r io.Reader) (Census, error) {
	c := counter{kubelet: map[string]bool{}}
	for _, name := range kubeletChains {
		c.kubelet[name] = false
	}
	if err := scan(r, &c); err != nil {
		return Census{}, err
	}
	return c.census, nil
}

type counter struct {
	census  Census
	kubelet map[string]bool // chains, and whether they were seen
}

func (c *counter) chain(_, name string) error {
	if seen, known := c.kubelet[name]; known && !seen {
		c.kubelet[name] = true
		c.census.Kubelet++
	}
	return nil
}

func (c *counter) rule(_, chain string, text []byte) error {
	c.census.All++
	for _, prefix := range []string{"KUBE-", "AWS-"} {
		if strings.HasPrefix(chain, prefix) || bytes.Contains(text, []byte("-j "+prefix)) {
			c.census.Cluster++
			break
		}
	}
	return nil
}
