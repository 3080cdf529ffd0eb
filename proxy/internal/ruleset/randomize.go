package ruleset

import "fmt"

// Randomize is how SNAT picks source ports.
type Randomize int

const (
	// PRNG takes a random port for every connection (--random-fully).
	PRNG Randomize = iota
	// HashRandom takes a port by a keyed hash of the flow (--random).
	HashRandom
	// Sequential keeps the port where it is free.
	Sequential
)

var (
	randomizeFlag = [...]string{" --random-fully", " --random", ""}
	randomizeName = [...]string{"prng", "hashrandom", "none"}
)

// String is the value of AWS_VPC_K8S_CNI_RANDOMIZESNAT.
func (r Randomize) String() string { return randomizeName[r] }

// ParseRandomize reads the value of AWS_VPC_K8S_CNI_RANDOMIZESNAT.
func ParseRandomize(s string) (Randomize, error) {
	for i, name := range randomizeName {
		if s == name {
			return Randomize(i), nil
		}
	}
	return 0, fmt.Errorf("port randomization %q: want prng, hashrandom or none", s)
}
