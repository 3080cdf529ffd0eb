package ec2api

import (
	"slices"
	"strings"

	"github.com/causeway-cni/causeway/scripts/vpcsim/internal/awserr"
	"github.com/causeway-cni/causeway/scripts/vpcsim/internal/glob"
)

// maxFilterValues is how many values all filters of a request may have.
const maxFilterValues = 200

// filter is one Filter.N of a request: any of the values may match.
type filter struct {
	name   string
	values []string
}

// fields are what filters of a kind of resource can ask about: for each filter
// name the values that a resource has.
type fields[T any] map[string]func(T) []string

// filters reads Filter.N.
func (f form) filters() []filter {
	var out []filter
	total := 0
	for _, s := range f.structs("Filter") {
		one := filter{s.required("Name"), s.texts("Value")}
		total += len(one.values)
		out = append(out, one)
	}
	if total > maxFilterValues {
		f.fail(awserr.New("FilterLimitExceeded", "The maximum number of filter values specified on a single call is %d", maxFilterValues))
	}
	return out
}

// choose keeps the items that match all filters. Besides the fields, filters
// tag:KEY and tag-key ask about tags.
func choose[T any](items []T, filters []filter, known fields[T], tags func(T) map[string]string) ([]T, error) {
	for _, f := range filters {
		if _, ok := known[f.name]; !ok && f.name != "tag-key" && !strings.HasPrefix(f.name, "tag:") {
			return nil, awserr.New("InvalidParameterValue", "The filter '%s' is invalid", f.name)
		}
	}
	var out []T
	for _, item := range items {
		if !slices.ContainsFunc(filters, func(f filter) bool { return !f.matches(has(item, f.name, known, tags)) }) {
			out = append(out, item)
		}
	}
	return out, nil
}

// has lists the values that an item has for a filter.
func has[T any](item T, name string, known fields[T], tags func(T) map[string]string) []string {
	if get, ok := known[name]; ok {
		return get(item)
	}
	if name == "tag-key" {
		var keys []string
		for k := range tags(item) {
			keys = append(keys, k)
		}
		return keys
	}
	if v, ok := tags(item)[strings.TrimPrefix(name, "tag:")]; ok {
		return []string{v}
	}
	return nil
}

func (f filter) matches(have []string) bool {
	return slices.ContainsFunc(have, func(v string) bool {
		return slices.ContainsFunc(f.values, func(pattern string) bool { return glob.Match(pattern, v) })
	})
}

// one makes a field with a single value.
func one[T any](get func(T) string) func(T) []string {
	return func(v T) []string { return []string{get(v)} }
}
