package elb

import (
	"errors"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/causeway-cni/causeway/scripts/vpcsim/control"
)

// annotations reads those of one prefix. It collects what is wrong, and
// remembers what was read, so that the rest can be told.
type annotations struct {
	prefix string
	all    map[string]string
	known  map[string]bool
	errs   []error
}

func read(prefix string, all map[string]string) *annotations {
	return &annotations{prefix: prefix, all: all, known: map[string]bool{}}
}

// text is the value of an annotation, without spaces around it.
func (a *annotations) text(name, fallback string) string {
	a.known[name] = true
	if value := strings.TrimSpace(a.all[a.prefix+name]); value != "" {
		return value
	}
	return fallback
}

// list is a value of several, separated by commas.
func (a *annotations) list(name string) []string {
	var out []string
	for part := range strings.SplitSeq(a.text(name, ""), ",") {
		if part = strings.TrimSpace(part); part != "" {
			out = append(out, part)
		}
	}
	return out
}

// pairs is a value like a=1,b=2.
func (a *annotations) pairs(name string) map[string]string {
	out := map[string]string{}
	for _, part := range a.list(name) {
		key, value, ok := strings.Cut(part, "=")
		if !ok {
			a.wrong(name, part, "write it like name=value")
		}
		out[strings.TrimSpace(key)] = strings.TrimSpace(value)
	}
	return out
}

func (a *annotations) number(name string, fallback int) int {
	text := a.text(name, "")
	if text == "" {
		return fallback
	}
	n, err := strconv.Atoi(text)
	if err != nil || n < 0 {
		a.wrong(name, text, "want a number")
	}
	return n
}

func (a *annotations) seconds(name string, fallback int) control.Duration {
	return control.Duration(time.Duration(a.number(name, fallback)) * time.Second)
}

// choice is one of several values.
func (a *annotations) choice(name, fallback string, choices ...string) string {
	value := a.text(name, fallback)
	if !slices.Contains(choices, value) {
		a.wrong(name, value, "want "+strings.Join(choices, " or "))
	}
	return value
}

// port is a number or traffic-port, which is 0.
func (a *annotations) port(name string, fallback uint16) uint16 {
	text := a.text(name, "")
	switch text {
	case "":
		return fallback
	case "traffic-port":
		return 0
	}
	n, err := strconv.ParseUint(text, 10, 16)
	if err != nil || n == 0 {
		a.wrong(name, text, "want a port or traffic-port")
	}
	return uint16(n)
}

// without refuses annotations for what the simulator does not have.
func (a *annotations) without(names ...string) {
	for _, name := range names {
		if value := a.text(name, ""); value != "" {
			a.wrong(name, value, "the simulator does not have this")
		}
	}
}

func (a *annotations) wrong(name, value, want string) {
	a.errs = append(a.errs, fmt.Errorf("%s%s: %q: %s", a.prefix, name, value, want))
}

func (a *annotations) err() error { return errors.Join(a.errs...) }

// unknown are the annotations that nobody read.
func (a *annotations) unknown() []string {
	var out []string
	for _, key := range slices.Sorted(maps.Keys(a.all)) {
		if name, ok := strings.CutPrefix(key, a.prefix); ok && !a.known[name] {
			out = append(out, key+" has no effect in the simulator")
		}
	}
	return out
}
