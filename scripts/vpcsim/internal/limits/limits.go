// Package limits knows how many network interfaces and addresses an EC2
// instance type carries. The facts are those of DescribeInstanceTypes, kept in
// instance-limits.json; the package only looks up and never guesses.
package limits

import (
	_ "embed"
	"encoding/json"
	"fmt"
	"maps"
	"sync"
)

//go:embed instance-limits.json
var data []byte

// Type is what one instance type carries.
type Type struct {
	// IPv4 is the number of IPv4 slots of an interface: the primary address,
	// secondary addresses and /28 prefixes take one each. IPv6 has as many.
	IPv4        int    `json:"ipv4"`
	DefaultCard int    `json:"default_card"`
	Hypervisor  string `json:"hypervisor"` // "nitro", "xen" or "unknown"
	BareMetal   bool   `json:"bare_metal"`
	Cards       []Card `json:"cards"`
}

// Card is one network card of an instance type.
type Card struct {
	Index         int `json:"index"`
	MaxInterfaces int `json:"max_eni"`
}

// MaxInterfaces is the number of interfaces over all cards.
func (t Type) MaxInterfaces() int {
	sum := 0
	for _, c := range t.Cards {
		sum += c.MaxInterfaces
	}
	return sum
}

// Card returns the card with that index.
func (t Type) Card(index int) (Card, bool) {
	for _, c := range t.Cards {
		if c.Index == index {
			return c, true
		}
	}
	return Card{}, false
}

// Prefixes reports whether the type takes delegated prefixes: Nitro and bare
// metal do, Xen does not.
func (t Type) Prefixes() bool { return t.Hypervisor == "nitro" || t.BareMetal }

var load = sync.OnceValues(func() (map[string]Type, error) {
	var file struct {
		Types map[string]Type `json:"instance_types"`
	}
	if err := json.Unmarshal(data, &file); err != nil {
		return nil, fmt.Errorf("reading the embedded instance limits: %w", err)
	}
	return file.Types, nil
})

// Table returns all known types by name; the caller owns the map.
func Table() (map[string]Type, error) {
	t, err := load()
	return maps.Clone(t), err
}
