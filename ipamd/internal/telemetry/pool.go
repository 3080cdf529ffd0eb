package telemetry

import (
	"strconv"

	"github.com/prometheus/client_golang/prometheus"
)

// Snapshot is the pool of ENIs and addresses at one moment, and what may be
// asked of EC2 to change it.
type Snapshot struct {
	ENIs []ENI
	// MaxENIs and MaxAddresses are what this node may hold: the limits of
	// its instance type, or lower ones of the operator.
	MaxENIs, MaxAddresses int
	// Total are all addresses for pods; each is assigned, cooling or free.
	Total, Assigned, Cooling int
	// Quarantined are those of Total that nobody here asked for.
	Quarantined int
	// Differences that stand between book, EC2 and kernel, by kind.
	Differences map[string]int
	// Waiting is the number of requests that wait for an address.
	Waiting int
	// Budgets are those of the EC2 actions that were called for.
	Budgets []Budget
	// DroppedEvents is how many Kubernetes events were never written so far.
	DroppedEvents uint64
	// Switches says of each switch of operators whether it is on.
	Switches map[string]bool
}

// ENI is one ENI of a Snapshot.
type ENI struct {
	ID     string // as in eni-0123456789abcdef0; once in a Snapshot
	Device int    // device index of the attachment; the primary ENI has 0
	Total  int    // addresses for pods
	// Assigned are those of Total that pods hold.
	Assigned int
	// Ready means that the node's routing for the ENI is in place.
	Ready bool
}

// Source returns the pool as it is now. It is called at every scrape, from any
// goroutine, and must not wait for EC2 or the kernel.
type Source func() Snapshot

// poolCollector reads the pool once for each scrape, so that all of its gauges
// speak of the same moment.
type poolCollector struct {
	source                                Source
	eniAllocated, eniMax, addressMax      *prometheus.Desc
	total, assigned, cooling, waiting     *prometheus.Desc
	assignedPerENI, totalPerENI, eniReady *prometheus.Desc
	droppedEvents, switches               *prometheus.Desc
	quarantined, differences              *prometheus.Desc
	budget                                budgetDescs
}

func newPoolCollector(source Source) *poolCollector {
	desc := func(name, help string, labels ...string) *prometheus.Desc {
		return prometheus.NewDesc(name, help, labels, nil)
	}
	return &poolCollector{
		source:         source,
		budget:         newBudgetDescs(),
		eniAllocated:   desc("awscni_eni_allocated", "ENIs that the node holds."),
		eniMax:         desc("awscni_eni_max", "ENIs that the node may hold."),
		addressMax:     desc("awscni_ip_max", "Addresses for pods that the node may hold."),
		total:          desc("awscni_total_ip_addresses", "Addresses for pods that the node holds."),
		assigned:       desc("awscni_assigned_ip_addresses", "Addresses that pods hold."),
		cooling:        desc("causeway_cooling_ip_addresses", "Released addresses that are not handed out yet."),
		waiting:        desc("causeway_waiting_requests", "Requests that wait for an address."),
		assignedPerENI: desc("awscni_assigned_ip_per_eni", "Addresses of the ENI that pods hold.", "eni"),
		totalPerENI:    desc("causeway_total_ip_per_eni", "Addresses of the ENI for pods.", "eni"),
		quarantined:    desc("causeway_quarantined_ip_addresses", "Addresses of the node's ENIs that nobody on it asked for."),
		differences:    desc("causeway_differences", "Differences between book, EC2 and kernel that stand now.", "kind"),
		droppedEvents:  desc("causeway_dropped_events_total", "Kubernetes events that could not be written."),
		switches:       desc("causeway_switch_on", "1 if an operator's switch is on.", "switch"),
		eniReady:       desc("causeway_eni_ready", "1 if the node's routing for the ENI is in place.", "eni", "device"),
	}
}

// Describe implements prometheus.Collector.
func (c *poolCollector) Describe(descs chan<- *prometheus.Desc) {
	for _, d := range []*prometheus.Desc{
		c.eniAllocated, c.eniMax, c.addressMax, c.total, c.assigned, c.cooling, c.waiting,
		c.assignedPerENI, c.totalPerENI, c.eniReady, c.droppedEvents, c.switches,
		c.quarantined, c.differences,
	} {
		descs <- d
	}
	c.budget.describe(descs)
}

// Collect implements prometheus.Collector.
func (c *poolCollector) Collect(metrics chan<- prometheus.Metric) {
	gauge := func(d *prometheus.Desc, value int, labels ...string) {
		metrics <- prometheus.MustNewConstMetric(d, prometheus.GaugeValue, float64(value), labels...)
	}
	s := c.source()
	gauge(c.eniAllocated, len(s.ENIs))
	gauge(c.eniMax, s.MaxENIs)
	gauge(c.addressMax, s.MaxAddresses)
	gauge(c.total, s.Total)
	gauge(c.assigned, s.Assigned)
	gauge(c.cooling, s.Cooling)
	gauge(c.waiting, s.Waiting)
	gauge(c.quarantined, s.Quarantined)
	for kind, n := range s.Differences {
		gauge(c.differences, n, kind)
	}
	for _, eni := range s.ENIs {
		gauge(c.assignedPerENI, eni.Assigned, eni.ID)
		gauge(c.totalPerENI, eni.Total, eni.ID)
		gauge(c.eniReady, boolean(eni.Ready), eni.ID, strconv.Itoa(eni.Device))
	}
	for name, on := range s.Switches {
		gauge(c.switches, boolean(on), name)
	}
	metrics <- prometheus.MustNewConstMetric(c.droppedEvents, prometheus.CounterValue, float64(s.DroppedEvents))
	c.budget.collect(s.Budgets, metrics)
}

func boolean(b bool) int {
	if b {
		return 1
	}
	return 0
}
