package ec2api

import (
	"encoding/base64"
	"fmt"
	"hash/fnv"
	"slices"
	"strings"

	"github.com/causeway-cni/causeway/scripts/vpcsim/internal/awserr"
)

// page is the part of an answer that a request asks for.
type page struct {
	size  int    // 0 is not asked
	after string // the last item of the page before
	query uint64 // what the token belongs to
	token string // of the request
	empty bool   // a fault: there are no items
	again bool   // a fault: the page after the first is the next page of itself
}

// page reads MaxResults and NextToken; low and high bound the former.
func (c *call) page(low, high int) page {
	p := page{size: c.number("MaxResults"), query: c.query(c.action), empty: c.effect.Empty, again: c.effect.SameToken}
	if c.has("MaxResults") && (p.size < low || p.size > high) {
		c.fail(awserr.New("InvalidMaxResults", "The specified value %d for MaxResults is not valid. Expecting a value between %d and %d.", p.size, low, high))
	}
	if p.token = c.text("NextToken"); p.token == "" {
		return p
	}
	plain, err := base64.URLEncoding.DecodeString(p.token)
	query, after, found := strings.Cut(string(plain), "|")
	if err != nil || !found || query != fmt.Sprintf("%x", p.query) {
		c.fail(awserr.New("InvalidNextToken", "The specified NextToken is not valid"))
	}
	p.after = after
	return p
}

// query sums up what is asked, so that a token serves only its own query.
func (f form) query(action string) uint64 {
	h := fnv.New64a()
	fmt.Fprint(h, action)
	for _, key := range slices.Sorted(keysOf(f.values)) {
		if strings.HasPrefix(key, "Filter.") {
			fmt.Fprint(h, "\x00", key, "=", f.values[key])
		}
	}
	return h.Sum64()
}

func keysOf[V any](m map[string]V) func(func(string) bool) {
	return func(yield func(string) bool) {
		for k := range m {
			if !yield(k) {
				return
			}
		}
	}
}

// cut returns one page of items, which are sorted by their keys, and the token
// of the next page, "" at the end. limit bounds a page that asks for no size.
func cut[T any](items []T, p page, limit int, key func(T) string) ([]T, string) {
	items, next := slice(items, p, limit, key)
	if p.empty {
		items = nil
	}
	if p.again && p.token != "" {
		next = p.token
	}
	return items, next
}

func slice[T any](items []T, p page, limit int, key func(T) string) ([]T, string) {
	if p.after != "" {
		start := slices.IndexFunc(items, func(v T) bool { return key(v) > p.after })
		if start < 0 {
			start = len(items)
		}
		items = items[start:]
	}
	size := limit
	if p.size > 0 {
		size = min(p.size, limit)
	}
	if len(items) <= size {
		return items, ""
	}
	items = items[:size]
	token := fmt.Sprintf("%x|%s", p.query, key(items[size-1]))
	return items, base64.URLEncoding.EncodeToString([]byte(token))
}

// exclusive refuses MaxResults together with ids.
func (f form) exclusive(p page, ids []string, name string) {
	if p.size > 0 && len(ids) > 0 {
		f.fail(awserr.New("InvalidParameterCombination", "The parameter %s cannot be used with the parameter maxResults", name))
	}
}
