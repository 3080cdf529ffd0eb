// Generate writes types.txt from a file of facts that DescribeInstanceTypes
// gave: instance type, ENIs of the default card, IPv4 addresses of an ENI, and
// "p" if it takes delegated prefixes, as Nitro and bare metal do.
package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"log"
	"maps"
	"os"
	"slices"
)

func main() {
	data, err := os.ReadFile(os.Args[1])
	if err != nil {
		log.Fatal(err)
	}
	var facts struct {
		Types map[string]struct {
			IPv4        int    `json:"ipv4"`
			DefaultCard int    `json:"default_card"`
			Hypervisor  string `json:"hypervisor"`
			BareMetal   bool   `json:"bare_metal"`
			Cards       []struct {
				Index int `json:"index"`
				ENIs  int `json:"max_eni"`
			} `json:"cards"`
		} `json:"instance_types"`
	}
	if err := json.Unmarshal(data, &facts); err != nil {
		log.Fatal(err)
	}
	var out bytes.Buffer
	for _, name := range slices.Sorted(maps.Keys(facts.Types)) {
		t := facts.Types[name]
		for _, c := range t.Cards {
			if c.Index == t.DefaultCard {
				prefixes := ""
				if t.Hypervisor == "nitro" || t.BareMetal {
					prefixes = " p"
				}
				fmt.Fprintf(&out, "%s %d %d%s\n", name, c.ENIs, t.IPv4, prefixes)
			}
		}
	}
	if err := os.WriteFile("types.txt", out.Bytes(), 0o644); err != nil {
		log.Fatal(err)
	}
}
