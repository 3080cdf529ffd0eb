package config

import (
	"encoding/json"
	"slices"
	"strings"
)

// ofChart are the variables that the chart sets itself, or Kubernetes: they say
// where things are in the pod, and cannot be values.
var ofChart = []string{"HOST_CNI_CONFDIR_PATH", "HOST_CNI_BIN_PATH", "CAUSEWAY_HOST_ROOT", "MY_NODE_NAME", "KUBECONFIG", "KUBERNETES_SERVICE_HOST"}

// object is a JSON object; JSON sorts its names.
type object = map[string]any

// Schema returns the JSON schema of the chart's values, with each setting under
// env. It refuses names that nothing knows, and numbers and words like off that
// YAML would turn into something else on the way to the environment.
func Schema() ([]byte, error) {
	env := object{}
	for _, s := range settings() {
		if !slices.Contains(ofChart, s.variable) {
			env[s.variable] = s.schema()
		}
	}
	var (
		text     = object{"type": "string"}
		number   = object{"type": "integer", "minimum": 0}
		texts    = object{"type": "object", "additionalProperties": text}
		anything = object{"type": "object"} // Kubernetes checks it
		list     = object{"type": "array"}
	)
	values := closed(object{
		"global": anything, // Helm adds it in a chart of charts
		"image": closed(object{
			"repository": object{"type": "string", "minLength": 1}, "tag": text,
			"digest":     object{"type": "string", "pattern": "^(sha256:[0-9a-f]{64})?$"},
			"pullPolicy": object{"enum": []string{"Always", "IfNotPresent", "Never"}},
		}),
		"imagePullSecrets":              list,
		"cleanup":                       object{"type": "boolean"},
		"env":                           closed(env),
		"cni":                           closed(object{"binDir": directory(), "confDir": directory()}),
		"serviceAccount":                closed(object{"create": object{"type": "boolean"}, "name": text, "annotations": texts}),
		"priorityClassName":             text,
		"terminationGracePeriodSeconds": number,
		"updateStrategy":                anything, "tolerations": list, "nodeSelector": texts, "affinity": anything,
		"resources": anything, "livenessProbe": anything, "readinessProbe": anything,
		"podLabels": texts, "podAnnotations": texts, "podSecurityContext": anything,
	})
	values["$schema"], values["title"] = "http://json-schema.org/draft-07/schema#", "Values of Causeway's chart"
	out, err := json.MarshalIndent(values, "", "  ")
	return append(out, '\n'), err
}

// closed is an object that has these properties only.
func closed(properties object) object {
	return object{"type": "object", "properties": properties, "additionalProperties": false}
}

func directory() object { return object{"type": "string", "pattern": "^/[^/]"} }

// schema is the setting as a value of the chart.
func (s setting) schema() object {
	kind := object{"type": "string", "description": s.meaning + "; accepts " + s.accepts}
	if strings.HasSuffix(s.accepts, "true or false") || strings.HasPrefix(s.accepts, "only ") {
		kind["type"] = []string{"boolean", "string"}
	}
	if s.fallback != "" {
		kind["default"] = s.fallback
	}
	return kind
}
