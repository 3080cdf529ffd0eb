package lb

import (
	"context"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"net/http/httputil"
	"net/netip"
	"net/url"
	"slices"
	"strconv"
	"sync/atomic"
	"time"

	"github.com/causeway-cni/causeway/scripts/vpcsim/control"
	"github.com/causeway-cni/causeway/scripts/vpcsim/internal/fabric"
)

// idleALB is after what silence an application load balancer ends a connection.
const idleALB = 60 * time.Second

// proxy is a listener of an application load balancer at one of its addresses.
// It takes targets in turn. Clients get 503 without a target, 502 if the target
// breaks off, 504 if it does not answer.
type proxy struct {
	server http.Server
	turn   atomic.Uint64
}

// openProxies listens at all addresses of an application load balancer where
// it does not yet.
func (b *Balancers) openProxies(ctx context.Context, lb *balancer) error {
	for _, l := range lb.spec.Listeners {
		for _, z := range lb.zones {
			at := netip.AddrPortFrom(z.Address, l.Port)
			if lb.proxies[at] != nil {
				continue
			}
			var socket net.Listener
			err := b.fabric.In(fabric.LB, func() (err error) {
				socket, err = new(net.ListenConfig).Listen(ctx, "tcp4", at.String())
				return err
			})
			if err != nil {
				return fmt.Errorf("opening listener %s of load balancer %s: %w", at, lb.spec.Name, err)
			}
			p := b.newProxy(lb, z, at)
			lb.proxies[at] = p
			go func() { _ = p.server.Serve(socket) }() // ends with close
		}
	}
	return nil
}

func (b *Balancers) newProxy(lb *balancer, z control.BalancerZone, at netip.AddrPort) *proxy {
	p := &proxy{}
	quiet := slog.NewLogLogger(b.log.Handler(), slog.LevelDebug)
	forward := &httputil.ReverseProxy{
		Rewrite: func(r *httputil.ProxyRequest) {
			r.Out.Header["X-Forwarded-For"] = r.In.Header["X-Forwarded-For"] // the client's own, which SetXForwarded adds to
			r.SetXForwarded()
			r.Out.Header.Del("X-Forwarded-Host") // not of an ALB
			r.Out.Header.Set("X-Forwarded-Port", strconv.Itoa(int(at.Port())))
		},
		Transport: &http.Transport{
			IdleConnTimeout: idleALB,
			DialContext: func(ctx context.Context, _, to string) (net.Conn, error) {
				target, err := netip.ParseAddrPort(to)
				if err != nil {
					return nil, fmt.Errorf("reading the target's address: %w", err)
				}
				ctx, cancel := context.WithTimeout(ctx, 10*time.Second)
				defer cancel()
				return b.dial(ctx, z.Address, target)
			},
		},
		ErrorHandler: func(w http.ResponseWriter, _ *http.Request, err error) {
			status := http.StatusBadGateway
			if failure(err) == timedOut {
				status = http.StatusGatewayTimeout
			}
			w.WriteHeader(status)
		},
		ErrorLog: quiet,
	}
	p.server = http.Server{ErrorLog: quiet, IdleTimeout: idleALB, Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		endpoints, found := b.endpoints(lb, z, at, r)
		switch {
		case !found:
			w.WriteHeader(http.StatusNotFound)
			return
		case len(endpoints) == 0:
			w.WriteHeader(http.StatusServiceUnavailable)
			return
		}
		next := endpoints[p.turn.Add(1)%uint64(len(endpoints))]
		r.URL = &url.URL{Scheme: "http", Host: next.String(), Path: r.URL.Path, RawPath: r.URL.RawPath, RawQuery: r.URL.RawQuery}
		forward.ServeHTTP(w, r)
	})}
	return p
}

func (p *proxy) close() error {
	if err := p.server.Close(); err != nil {
		return fmt.Errorf("closing a listener: %w", err)
	}
	return nil
}

// endpoints are where a request in a zone may go now; found is false if no rule
// says where.
func (b *Balancers) endpoints(lb *balancer, z control.BalancerZone, at netip.AddrPort, r *http.Request) (_ []netip.AddrPort, found bool) {
	host := r.Host
	if name, _, err := net.SplitHostPort(host); err == nil {
		host = name
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	l, _ := lb.listener(at) // none any more, as it is being closed
	name := l.Group(host, r.URL.Path)
	i := slices.IndexFunc(lb.groups, func(g *group) bool { return g.Name == name })
	if i < 0 {
		return nil, false
	}
	return pick(lb.groups[i].targets, z.Zone, *lb.spec.CrossZone), true
}
