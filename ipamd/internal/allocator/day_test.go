package allocator

import (
	"fmt"
	"math"
	"math/rand/v2"
	"testing"
	"testing/synctest"
	"time"

	"github.com/causeway-cni/causeway/ipamd/internal/pool"
)

// A day of a node that no target is set for: its pods follow the hours, some
// are replaced each minute, and now and then a deployment is rolled out at once.
// Held addresses stay close to used ones, no pod waits longer than EC2 takes,
// and EC2 is asked for little.
func TestDay(t *testing.T) {
	for _, c := range []struct {
		name     string
		prefixes bool
		most     float64 // addresses held for each that is used
	}{{"addresses", false, 1.3}, {"prefixes", true, 1.8}} {
		t.Run(c.name, func(t *testing.T) {
			s := settingsFor(pool.Limits{ENIs: 8, AddressesPerENI: 30}) // m5.4xlarge
			s.Pool.Prefixes, s.Pool.ReleaseAfter = c.prefixes, time.Minute
			synctest.Test(t, func(t *testing.T) {
				ec2 := newEC2(s.Pool.Limits, 0)
				ec2.left, ec2.latency, ec2.device, ec2.lag = 20000, 400*time.Millisecond, 2*time.Second, time.Second
				d := &day{node: boot(t, s, ec2, t.TempDir()), random: rand.New(rand.NewPCG(1, 2))}
				d.settle(10 * time.Second)
				d.live()
				ratio, calls := d.held/d.used, float64(ec2.mutating())/float64(d.next)
				t.Logf("%.2f addresses held for each that is used, %d pods, %.2f calls that change something for each, longest wait %s", ratio, d.next, calls, d.longest)
				if ratio > c.most {
					t.Errorf("%.2f addresses were held for each that was used, want at most %.1f", ratio, c.most)
				}
				if d.longest > 2*ec2.latency+ec2.device+500*time.Millisecond {
					t.Errorf("a pod waited for %s", d.longest)
				}
				d.check()
			})
		})
	}
}

// day is a node and its pods, oldest first.
type day struct {
	*node
	random     *rand.Rand
	pods       []string
	next       int
	held, used float64 // addresses, summed up over the minutes
	longest    time.Duration
}

func (d *day) live() {
	for minute := range 24 * 60 {
		want := int(60 - 40*math.Cos(2*math.Pi*float64(minute)/(24*60))) // 20 at night, 100 at noon
		replace := d.random.IntN(3)
		if minute%180 == 90 {
			replace = len(d.pods) / 4 // a deployment is rolled out, new pods first
		}
		d.start(replace)
		d.end(replace)
		d.start(want - len(d.pods))
		d.end(len(d.pods) - want)
		d.settle(time.Minute)
		_, _, addresses := d.ec2.has()
		d.held += float64(len(addresses))
		d.used += float64(len(d.Assignments()))
	}
}

func (d *day) start(n int) {
	if n <= 0 {
		return
	}
	for _, a := range d.addAll(fmt.Sprint("p", d.next, "-"), n) {
		if a.err != nil {
			d.t.Error(a.err)
		}
		d.longest = max(d.longest, a.took)
	}
	for i := range n {
		d.pods = append(d.pods, fmt.Sprint("p", d.next, "-", i))
	}
	d.next += n
}

func (d *day) end(n int) {
	for range n {
		d.release(d.pods[0])
		d.pods = d.pods[1:]
	}
}
