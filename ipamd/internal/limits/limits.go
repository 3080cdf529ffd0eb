// Package limits knows how many network interfaces and addresses an EC2
// instance type carries, without asking EC2. The facts are those of
// DescribeInstanceTypes at the time of the build, one instance type a line in
// types.txt. It looks up and never guesses: what is not in the table is
// unknown.
package limits

import (
	_ "embed"
	"strconv"
	"strings"

	"github.com/causeway-cni/causeway/ipamd/internal/pool"
)

//go:generate go run testdata/generate.go ../../../scripts/vpcsim/internal/limits/instance-limits.json

//go:embed types.txt
var table string

// Of returns the limits of an instance type such as "m5.large", on its default
// network card; false if the type is not in the table. It reads the text as it
// is, which for the one lookup of a process costs less than parsing it.
func Of(instanceType string) (pool.Limits, bool) {
	for line := range strings.Lines(table) {
		name, numbers, _ := strings.Cut(line, " ")
		if name == instanceType {
			return parse(numbers)
		}
	}
	return pool.Limits{}, false
}

// parse reads "3 10\n" or "3 10 p\n".
func parse(numbers string) (pool.Limits, bool) {
	fields := strings.Fields(numbers)
	if len(fields) < 2 || len(fields) > 3 || len(fields) == 3 && fields[2] != "p" {
		return pool.Limits{}, false
	}
	e, err1 := strconv.Atoi(fields[0])
	a, err2 := strconv.Atoi(fields[1])
	return pool.Limits{ENIs: e, AddressesPerENI: a, Prefixes: len(fields) == 3}, err1 == nil && err2 == nil && e > 0 && a > 0
}
