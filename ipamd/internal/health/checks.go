package health

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"strconv"
	"sync"
	"time"

	"github.com/causeway-cni/causeway/proxy/service"
)

// Checks are the health check node ports of services. All methods are safe for
// concurrent use.
type Checks struct {
	healthy func() bool
	log     *slog.Logger

	mu     sync.Mutex
	closed bool
	of     map[service.Key]map[service.Family]*check
}

// check is one listener, or one that could not be opened yet.
type check struct {
	service.HealthCheck
	server *http.Server // nil: to be opened
	failed string       // why; said once
}

// NewChecks returns no checks. healthy says whether rules are written in time:
// while they are not, every check fails.
func NewChecks(healthy func() bool, log *slog.Logger) *Checks {
	return &Checks{healthy: healthy, log: log, of: map[service.Key]map[service.Family]*check{}}
}

// Set says what the checks of a service are to answer; none removes them, and
// closes their ports.
func (c *Checks) Set(k service.Key, want []service.HealthCheck) {
	c.mu.Lock()
	defer c.mu.Unlock()
	have := c.of[k]
	next := map[service.Family]*check{}
	for _, w := range want {
		if old := have[w.Family]; old != nil && old.Port == w.Port {
			old.HealthCheck, next[w.Family] = w, old
			delete(have, w.Family)
			continue
		}
		next[w.Family] = &check{HealthCheck: w}
	}
	for _, gone := range have {
		gone.close()
	}
	c.of[k] = next
	if len(next) == 0 {
		delete(c.of, k)
	}
	c.open(next)
}

// Retry opens what could not be opened before, such as a port that another
// proxy still holds.
func (c *Checks) Retry() {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, of := range c.of {
		c.open(of)
	}
}

// Close closes all ports, for good.
func (c *Checks) Close() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.closed = true
	for _, of := range c.of {
		for _, each := range of {
			each.close()
		}
	}
}

func (c *Checks) open(of map[service.Family]*check) {
	for family, each := range of {
		if each.server != nil || c.closed {
			continue
		}
		listener, err := net.Listen(network[family], net.JoinHostPort("", strconv.Itoa(int(each.Port))))
		if err != nil {
			if why := err.Error(); why != each.failed {
				each.failed = why
				c.log.Error("no health checks of the service for now", "service", each.Service, "healthCheckNodePort", each.Port, "error", err)
			}
			continue
		}
		key := each.Service
		each.failed = ""
		each.server = &http.Server{
			Handler:           http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { c.answer(w, key, family) }),
			ReadHeaderTimeout: 5 * time.Second, IdleTimeout: time.Minute,
		}
		go c.serve(each.server, listener, key)
	}
}

var network = map[service.Family]string{service.IPv4: "tcp4", service.IPv6: "tcp6"}

func (c *Checks) serve(s *http.Server, l net.Listener, k service.Key) {
	if err := s.Serve(l); !errors.Is(err, http.ErrServerClosed) {
		c.log.Error("health checks of the service ended", "service", k, "error", err)
	}
}

// lastAnswers is how long a request in flight may take when its port closes.
const lastAnswers = time.Second

// close stops listening at once, and lets requests in flight get an answer.
func (c *check) close() {
	if c.server == nil {
		return
	}
	ctx, cancel := context.WithTimeout(context.Background(), lastAnswers)
	go func(s *http.Server) {
		defer cancel()
		if s.Shutdown(ctx) != nil {
			s.Close()
		}
	}(c.server)
	c.server = nil
}

func (c *Checks) answer(w http.ResponseWriter, k service.Key, f service.Family) {
	c.mu.Lock()
	each := c.of[k][f]
	local := 0
	if each != nil {
		local = each.Local
	}
	c.mu.Unlock()
	healthy, status := c.healthy(), http.StatusServiceUnavailable
	if local > 0 && healthy {
		status = http.StatusOK
	}
	w.Header().Set("X-Load-Balancing-Endpoint-Weight", strconv.Itoa(local))
	answer(w, status, fmt.Appendf(nil,
		"{\n\t\"service\": {\n\t\t\"namespace\": %q,\n\t\t\"name\": %q\n\t},\n\t\"localEndpoints\": %d,\n\t\"serviceProxyHealthy\": %v\n}",
		k.Namespace, k.Name, local, healthy))
}
