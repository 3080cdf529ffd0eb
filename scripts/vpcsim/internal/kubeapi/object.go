package kubeapi

import (
	"crypto/rand"
	"fmt"
)

// metadata is an object's metadata, made where it is missing.
func metadata(content map[string]any) map[string]any { return child(content, "metadata") }

// child is a map inside of a map, made where it is missing.
func child(m map[string]any, key string) map[string]any {
	c, ok := m[key].(map[string]any)
	if !ok {
		c = map[string]any{}
		m[key] = c
	}
	return c
}

// text is a string inside of a map, "" where it is missing.
func text(m map[string]any, key string) string {
	s, _ := m[key].(string)
	return s
}

// number is a number inside of a map, 0 where it is missing.
func number(m map[string]any, key string) int {
	switch n := m[key].(type) {
	case float64:
		return int(n)
	case int:
		return n
	}
	return 0
}

// maps are the maps of a list inside of a map.
func maps(m map[string]any, key string) []map[string]any {
	list, _ := m[key].([]any)
	var out []map[string]any
	for _, each := range list {
		if one, ok := each.(map[string]any); ok {
			out = append(out, one)
		}
	}
	return out
}

// texts are the strings of a list inside of a map.
func texts(m map[string]any, key string) []string {
	list, _ := m[key].([]any)
	var out []string
	for _, each := range list {
		if one, ok := each.(string); ok {
			out = append(out, one)
		}
	}
	return out
}

// preset sets what is missing.
func preset(m map[string]any, key string, value any) {
	if m[key] == nil {
		m[key] = value
	}
}

func stringMap(v any) (map[string]string, error) {
	if v == nil {
		return nil, nil
	}
	in, ok := v.(map[string]any)
	if !ok {
		return nil, fmt.Errorf("%v is not a map", v)
	}
	out := map[string]string{}
	for k, each := range in {
		s, ok := each.(string)
		if !ok {
			return nil, fmt.Errorf("%s: %v is not a string: quote it", k, each)
		}
		out[k] = s
	}
	return out, nil
}

// uid makes a random UUID.
func uid() string {
	var b [16]byte
	_, _ = rand.Read(b[:]) // it never fails
	b[6], b[8] = b[6]&0x0f|0x40, b[8]&0x3f|0x80
	return fmt.Sprintf("%x-%x-%x-%x-%x", b[:4], b[4:6], b[6:8], b[8:10], b[10:])
}

// merge is a JSON merge patch (RFC 7396).
func merge(into map[string]any, patch map[string]any) map[string]any {
	if into == nil {
		into = map[string]any{}
	}
	for k, v := range patch {
		inner, isMap := v.(map[string]any)
		switch {
		case v == nil:
			delete(into, k)
		case isMap:
			old, _ := into[k].(map[string]any)
			into[k] = merge(old, inner)
		default:
			into[k] = v
		}
	}
	return into
}
