package vpc

import (
	"fmt"
	"strings"
)

// ZoneID is the id of an availability zone, as usw2-az1 for us-west-2a.
func ZoneID(zone string) string {
	letter := zone[len(zone)-1]
	parts := strings.Split(zone[:len(zone)-1], "-")
	short := parts[0]
	for _, p := range parts[1 : len(parts)-1] {
		for _, direction := range []string{"north", "south", "east", "west", "central"} {
			if strings.Contains(p, direction) {
				short += direction[:1]
			}
		}
	}
	return fmt.Sprintf("%s%s-az%d", short, parts[len(parts)-1], letter-'a'+1)
}
