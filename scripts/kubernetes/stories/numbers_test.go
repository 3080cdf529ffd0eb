//go:build cluster

package stories

import (
	"fmt"
	"os"
	"slices"
	"strconv"
	"sync"
	"text/tabwriter"
	"time"
)

// numbers are what the stories measured, printed at the end.
var numbers struct {
	sync.Mutex
	rows []string
}

// number adds a measured value to those that are printed at the end; a remark
// says more of it.
func (s story) number(what string, value float64, remark string, args ...any) {
	numbers.Lock()
	defer numbers.Unlock()
	numbers.rows = append(numbers.rows, fmt.Sprintf("%s\t%s\t%s\t%s", s.space, what, strconv.FormatFloat(value, 'f', -1, 64), fmt.Sprintf(remark, args...)))
}

// times is number for the middle and the end of what took different times.
func (s story) times(what string, took []time.Duration, remark string, args ...any) {
	if len(took) == 0 {
		s.Errorf("%s: nothing was measured", what)
		return
	}
	slices.Sort(took)
	for _, q := range []struct {
		name string
		at   int
	}{{"p50", len(took) / 2}, {"p99", len(took) * 99 / 100}} {
		s.number(fmt.Sprintf("%s, %s, ms", what, q.name), float64(took[q.at].Round(100*time.Microsecond).Microseconds())/1000, remark, args...)
	}
}

func printNumbers() {
	out := tabwriter.NewWriter(os.Stdout, 0, 0, 2, ' ', 0)
	fmt.Fprintln(out, "\nstory\tmeasured\tvalue\tremark")
	for _, row := range numbers.rows {
		fmt.Fprintln(out, row)
	}
	out.Flush()
}
