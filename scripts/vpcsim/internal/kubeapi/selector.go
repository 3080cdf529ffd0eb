package kubeapi

import (
	"fmt"
	"net/http"
	"slices"
	"strings"
)

// selection says which objects a list or a watch is about.
type selection struct {
	resource        resource
	namespace, name string // "" for all
	labels, fields  []requirement
}

func selectionOf(r request) (selection, error) {
	out := selection{resource: r.resource, namespace: r.namespace, name: r.name}
	query := r.URL.Query()
	var err error
	if out.labels, err = parseSelector(query.Get("labelSelector")); err != nil {
		return out, failure(http.StatusBadRequest, "BadRequest", "unable to parse requirement: %v", err)
	}
	if out.fields, err = parseSelector(query.Get("fieldSelector")); err != nil {
		return out, failure(http.StatusBadRequest, "BadRequest", "unable to parse requirement: %v", err)
	}
	for _, f := range out.fields {
		if !slices.Contains(r.resource.fields(), f.key) {
			return out, failure(http.StatusBadRequest, "BadRequest", "field label not supported: %s", f.key)
		}
	}
	return out, nil
}

// fields are what field selectors can name beside name and namespace, by
// resource; kinds defined later have none.
var fields = map[string][]string{
	"services": {"spec.clusterIP", "spec.type"},
	"pods":     {"spec.nodeName", "spec.restartPolicy", "spec.serviceAccountName", "status.phase", "status.podIP"},
	"events": {"involvedObject.kind", "involvedObject.namespace", "involvedObject.name", "involvedObject.uid",
		"involvedObject.apiVersion", "reason", "type", "source"},
}

func (r resource) fields() []string {
	return append([]string{"metadata.name", "metadata.namespace"}, fields[r.String()]...)
}

// fieldsOf are an object's values of them.
func fieldsOf(o *object, content map[string]any) map[string]string {
	out := map[string]string{"metadata.name": o.name, "metadata.namespace": o.namespace}
	for _, field := range fields[o.resource.String()] {
		in, last := content, field
		for first, rest, more := strings.Cut(last, "."); more; first, rest, more = strings.Cut(last, ".") {
			in, _ = in[first].(map[string]any)
			last = rest
		}
		out[field] = text(in, last)
	}
	if o.resource.Kind == "Event" && o.resource.Group == "" {
		source, _ := content["source"].(map[string]any)
		out["source"] = text(source, "component")
	}
	return out
}

// has says whether an object is selected.
func (s selection) has(o *object) bool {
	return o != nil && o.resource == s.resource && (s.namespace == "" || o.namespace == s.namespace) &&
		(s.name == "" || o.name == s.name) && met(s.labels, o.labels) && met(s.fields, o.fields)
}

func met(all []requirement, values map[string]string) bool {
	return !slices.ContainsFunc(all, func(r requirement) bool { return !r.met(values) })
}

// requirement is one part of a selector.
type requirement struct {
	key    string
	op     operator
	values []string
}

type operator string

const (
	exists       operator = "exists"
	doesNotExist operator = "!"
	in           operator = "in"
	notIn        operator = "notin"
)

// met says whether labels are as required; a label that is missing is in no
// set of values.
func (r requirement) met(labels map[string]string) bool {
	value, ok := labels[r.key]
	switch r.op {
	case exists:
		return ok
	case doesNotExist:
		return !ok
	case in:
		return ok && slices.Contains(r.values, value)
	}
	return !ok || !slices.Contains(r.values, value)
}

// parseSelector reads a selector of labels or fields: key, !key, key=value, key==value,
// key!=value, key in (a,b), key notin (a,b), with commas between them.
func parseSelector(text string) ([]requirement, error) {
	var out []requirement
	for _, part := range splitOutside(text) {
		r, err := parseRequirement(strings.TrimSpace(part))
		if err != nil {
			return nil, err
		}
		out = append(out, r)
	}
	return out, nil
}

// splitOutside splits at the commas that are not in parentheses.
func splitOutside(text string) []string {
	depth := 0
	return strings.FieldsFunc(text, func(r rune) bool {
		switch r {
		case '(':
			depth++
		case ')':
			depth--
		}
		return r == ',' && depth == 0
	})
}

func parseRequirement(part string) (requirement, error) {
	if key, ok := strings.CutPrefix(part, "!"); ok {
		return requirement{key: strings.TrimSpace(key), op: doesNotExist}, nil
	}
	if words := strings.Fields(strings.Replace(part, "(", " (", 1)); len(words) > 1 && (words[1] == string(in) || words[1] == string(notIn)) {
		list := strings.Join(words[2:], "")
		if !strings.HasPrefix(list, "(") || !strings.HasSuffix(list, ")") {
			return requirement{}, fmt.Errorf("%q: write values as (a,b)", part)
		}
		return requirement{words[0], operator(words[1]), strings.Split(list[1:len(list)-1], ",")}, nil
	}
	for _, sign := range []struct {
		text string
		op   operator
	}{{"!=", notIn}, {"==", in}, {"=", in}} {
		if key, value, ok := strings.Cut(part, sign.text); ok {
			return requirement{strings.TrimSpace(key), sign.op, []string{strings.TrimSpace(value)}}, nil
		}
	}
	if part == "" || strings.ContainsAny(part, " ()") {
		return requirement{}, fmt.Errorf("%q: write key, !key, key=value, key!=value or key in (a,b)", part)
	}
	return requirement{key: part, op: exists}, nil
}
