//go:build cluster

package stories

import (
	"fmt"
	"io"
	"maps"
	"math"
	"net/http"
	"slices"
	"strconv"
	"strings"

	"github.com/causeway-cni/causeway/scripts/cluster"
	"github.com/causeway-cni/causeway/scripts/kubernetes"
)

// Metrics that the node's loopback device offers.
const (
	daemonMetrics     = "127.0.0.1:61678"
	proxyMetrics      = "127.0.0.1:10249"
	containerdMetrics = "127.0.0.1:1338/v1"
)

// scrape reads metrics of a program on the node.
func (s story) scrape(n *kubernetes.Node, from string) string {
	s.Helper()
	netns, err := n.Netns(n.Addr)
	if err != nil {
		s.Fatal(err)
	}
	defer netns.Close()
	client := http.Client{Transport: &http.Transport{DisableKeepAlives: true, DialContext: cluster.DialIn(fmt.Sprintf("/proc/self/fd/%d", netns.Fd()))}}
	answer, err := client.Get("http://" + from + "/metrics")
	if err != nil {
		s.Fatal(err)
	}
	defer answer.Body.Close()
	text, err := io.ReadAll(answer.Body)
	if err != nil || answer.StatusCode != http.StatusOK {
		s.Fatalf("metrics of %s at %s: %s, %v", n.Name, from, answer.Status, err)
	}
	return string(text)
}

// kubelet reads kubelet's metrics, as users with a kubeconfig can.
func (s story) kubeletMetrics(n *kubernetes.Node) string {
	s.Helper()
	return s.kubectl("get", "--raw", "/api/v1/nodes/"+n.Name+"/proxy/metrics")
}

// histogram is what was observed of a duration.
type histogram struct {
	atMost map[float64]float64 // how many, by bounds in seconds
	sum    float64
}

// observed adds up the histograms of a name that have a label.
func observed(metrics, name, label string) histogram {
	h := histogram{atMost: map[float64]float64{}}
	for line := range strings.Lines(metrics) {
		at := strings.LastIndexByte(line, ' ')
		value, err := strconv.ParseFloat(strings.TrimSpace(line[at+1:]), 64)
		if err != nil || !strings.Contains(line, label) {
			continue
		}
		series, labels, _ := strings.Cut(line[:at], "{")
		switch series {
		case name + "_sum":
			h.sum += value
		case name + "_bucket":
			_, bound, _ := strings.Cut(labels, `le="`)
			bound, _, _ = strings.Cut(bound, `"`)
			if le, err := strconv.ParseFloat(bound, 64); err == nil {
				h.atMost[le] += value
			}
		}
	}
	return h
}

// plus adds what others observed, or with sign -1 takes away what was before.
func (h histogram) plus(other histogram, sign float64) histogram {
	sum := histogram{atMost: maps.Clone(h.atMost), sum: h.sum + sign*other.sum}
	for le, n := range other.atMost {
		sum.atMost[le] += sign * n
	}
	return sum
}

// bounds prints the middle and the end of a histogram, as well as its buckets
// tell, and the mean, which is exact.
func (s story) bounds(what string, h histogram, remark string) {
	s.Helper()
	all := h.atMost[math.Inf(1)]
	if all == 0 {
		s.Errorf("%s: nothing was observed", what)
		return
	}
	ms := func(seconds float64) float64 { return math.Round(seconds*1e5) / 100 }
	buckets := slices.Sorted(maps.Keys(h.atMost))
	for _, q := range []float64{0.5, 0.99} {
		i := slices.IndexFunc(buckets, func(le float64) bool { return h.atMost[le] >= q*all })
		side, bound := "at most", buckets[i]
		if math.IsInf(bound, 1) && i > 0 {
			side, bound = "more than", buckets[i-1]
		}
		s.number(fmt.Sprintf("%s, p%.0f, %s, ms", what, 100*q, side), ms(bound), "%s", remark)
	}
	s.number(what+", mean, ms", ms(h.sum/all), "%s", remark)
}
