package config

import (
	"fmt"
	"strings"
)

// Markdown returns the settings as a page of the documentation.
func Markdown() string {
	var page strings.Builder
	page.WriteString(`# Settings

The daemon is configured by environment variables. Those of aws-node have its
meaning; a value that cannot be used is refused at start, with what would be
right. This page is written from the table in ` + "`config`" + `; ` + "`ipamd settings`" + ` prints it.

| Variable | Default | Accepts | Meaning | Whose |
|---|---|---|---|---|
`)
	for _, s := range settings() {
		fmt.Fprintf(&page, "| `%s` | %s | %s | %s | %s |\n", s.variable, code(s.fallback), s.accepts, s.meaning, s.origin())
	}
	return page.String()
}

func code(text string) string {
	if text == "" {
		return ""
	}
	return "`" + text + "`"
}

// otherDefaults are the settings of aws-node 1.23 whose default is another one
// there, with that default.
var otherDefaults = map[string]string{
	"WARM_ENI_TARGET":          "1",
	"AWS_VPC_K8S_CNI_LOGLEVEL": "debug",
	"HOST_CNI_CONFDIR_PATH":    "/host/etc/cni/net.d",
}

// origin is who gave a variable its name and meaning.
func (s setting) origin() string {
	switch {
	case strings.HasPrefix(s.variable, "CAUSEWAY_"), s.variable == "PROXY_MODE":
		return "ours"
	case s.variable == "KUBECONFIG", strings.HasPrefix(s.variable, "KUBERNETES_"):
		return "Kubernetes"
	case otherDefaults[s.variable] != "":
		return "aws-node, where the default is `" + otherDefaults[s.variable] + "`"
	}
	return "aws-node"
}
