package ec2api

import (
	"net/netip"
	"net/url"
	"slices"
	"strconv"
	"strings"

	"github.com/causeway-cni/causeway/scripts/vpcsim/internal/awserr"
)

// form reads the parameters of one request. Each reader marks what it read and
// keeps the first error, so that an action reads all its parameters and asks
// once, with done, whether the request was right.
type form struct {
	values url.Values
	prefix string // "" or the path of a structure, ending in a dot
	state  *formState
}

type formState struct {
	read map[string]bool
	err  error
}

func newForm(values url.Values) form {
	return form{values: values, state: &formState{read: map[string]bool{"Action": true, "Version": true}}}
}

func (f form) fail(err error) {
	if f.state.err == nil {
		f.state.err = err
	}
}

// has reports whether the parameter or a part of it is present.
func (f form) has(name string) bool {
	full := f.prefix + name
	for key := range f.values {
		if key == full || strings.HasPrefix(key, full+".") {
			return true
		}
	}
	return false
}

// text is the parameter's value, "" if absent.
func (f form) text(name string) string {
	v, _ := f.lookup(name)
	return v
}

func (f form) lookup(name string) (string, bool) {
	full := f.prefix + name
	vs, ok := f.values[full]
	f.state.read[full] = true
	if !ok || len(vs) == 0 {
		return "", false
	}
	return vs[0], true
}

// required is the parameter's value, and an error if it is empty.
func (f form) required(name string) string {
	v := f.text(name)
	if v == "" {
		f.fail(awserr.Missing(f.prefix + name))
	}
	return v
}

// number is the parameter's value, 0 if absent.
func (f form) number(name string) int {
	v, ok := f.lookup(name)
	if !ok {
		return 0
	}
	n, err := strconv.ParseInt(v, 10, 32)
	if err != nil {
		f.fail(awserr.BadValue(f.prefix+name, v, "Expecting an integer."))
	}
	return int(n)
}

// flag is the parameter's value, nil if absent.
func (f form) flag(name string) *bool {
	v, ok := f.lookup(name)
	if !ok {
		return nil
	}
	b := strings.EqualFold(v, "true")
	if !b && !strings.EqualFold(v, "false") {
		f.fail(awserr.BadValue(f.prefix+name, v, "Expecting true or false."))
	}
	return &b
}

// on is the parameter's value, false if absent.
func (f form) on(name string) bool {
	b := f.flag(name)
	return b != nil && *b
}

// indexes lists the numbers n of the parameters name.n present, ascending.
func (f form) indexes(name string) []string {
	full := f.prefix + name + "."
	seen := map[int]bool{}
	for key := range f.values {
		rest, ok := strings.CutPrefix(key, full)
		if !ok {
			continue
		}
		digits, _, _ := strings.Cut(rest, ".")
		if n, err := strconv.Atoi(digits); err == nil && n >= 0 && strconv.Itoa(n) == digits {
			seen[n] = true
		}
	}
	order := make([]int, 0, len(seen))
	for n := range seen {
		order = append(order, n)
	}
	slices.Sort(order)
	out := make([]string, len(order))
	for i, n := range order {
		out[i] = name + "." + strconv.Itoa(n)
	}
	return out
}

// texts reads the list name.1, name.2, ...
func (f form) texts(name string) []string {
	var out []string
	for _, key := range f.indexes(name) {
		if v, ok := f.lookup(key); ok {
			out = append(out, v)
		}
	}
	return out
}

// structs reads the list of structures name.1.x, name.2.x, ...
func (f form) structs(name string) []form {
	var out []form
	for _, key := range f.indexes(name) {
		out = append(out, form{f.values, f.prefix + key + ".", f.state})
	}
	return out
}

// addrs reads addresses from their texts.
func (f form) addrs(texts []string) []netip.Addr {
	var out []netip.Addr
	for _, text := range texts {
		a, err := netip.ParseAddr(text)
		if err != nil || a.Zone() != "" {
			f.fail(awserr.New("InvalidParameterValue", "invalid value for parameter address: %s", text))
			continue
		}
		out = append(out, a)
	}
	return out
}

// prefixes reads prefixes from their texts.
func (f form) prefixes(texts []string) []netip.Prefix {
	var out []netip.Prefix
	for _, text := range texts {
		p, err := netip.ParsePrefix(text)
		if err != nil {
			f.fail(awserr.New("InvalidParameterValue", "invalid value for parameter prefix: %s", text))
			continue
		}
		out = append(out, p)
	}
	return out
}

// fields reads one field of each structure of a list.
func (f form) fields(list, field string) []string {
	var out []string
	for _, s := range f.structs(list) {
		out = append(out, s.required(field))
	}
	return out
}

// done is the first error, or one for a parameter that nobody read, other than
// those of a signature in the query.
func (f form) done() error {
	if f.state.err != nil {
		return f.state.err
	}
	keys := make([]string, 0, len(f.values))
	for key := range f.values {
		keys = append(keys, key)
	}
	slices.Sort(keys)
	for _, key := range keys {
		if !f.state.read[key] && !strings.HasPrefix(key, "X-Amz-") {
			return awserr.New("UnknownParameter", "The parameter %s is not recognized", key)
		}
	}
	return nil
}
