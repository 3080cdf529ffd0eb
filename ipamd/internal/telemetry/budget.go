package telemetry

import (
	"time"

	"github.com/prometheus/client_golang/prometheus"
)

// Budget is how often the node lets itself call one action of EC2.
type Budget struct {
	Action string
	// Rate is in calls per second; Ceiling is what it recovers to while nothing
	// is throttled.
	Rate, Ceiling float64
	// Wait is how long the next call will wait for its turn; 0 if it will not.
	Wait time.Duration
}

// budgetDescs describe budgets; the collector of the pool sends them.
type budgetDescs struct{ rate, ceiling, wait *prometheus.Desc }

func newBudgetDescs() budgetDescs {
	desc := func(name, help string) *prometheus.Desc { return prometheus.NewDesc(name, help, []string{"fn"}, nil) }
	return budgetDescs{
		rate:    desc("causeway_ec2_budget_rate", "Calls of the EC2 API that the node lets itself make, per second."),
		ceiling: desc("causeway_ec2_budget_ceiling", "The same while EC2 throttles nothing."),
		wait:    desc("causeway_ec2_budget_wait_seconds", "How long the next call of the EC2 API waits for its turn."),
	}
}

func (d budgetDescs) describe(descs chan<- *prometheus.Desc) {
	descs <- d.rate
	descs <- d.ceiling
	descs <- d.wait
}

func (d budgetDescs) collect(budgets []Budget, metrics chan<- prometheus.Metric) {
	gauge := func(d *prometheus.Desc, value float64, action string) {
		metrics <- prometheus.MustNewConstMetric(d, prometheus.GaugeValue, value, action)
	}
	for _, b := range budgets {
		gauge(d.rate, b.Rate, b.Action)
		gauge(d.ceiling, b.Ceiling, b.Action)
		gauge(d.wait, b.Wait.Seconds(), b.Action)
	}
}
