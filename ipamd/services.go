package main

import (
	"context"
	"fmt"
	"log/slog"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"time"

	"github.com/causeway-cni/causeway/config"
	"github.com/causeway-cni/causeway/ipamd/internal/allocator"
	"github.com/causeway-cni/causeway/ipamd/internal/kube"
	"github.com/causeway-cni/causeway/ipamd/internal/loop"
	"github.com/causeway-cni/causeway/ipamd/internal/pool"
	"github.com/causeway-cni/causeway/ipamd/internal/services"
	"github.com/causeway-cni/causeway/ipamd/internal/telemetry"
	"github.com/causeway-cni/causeway/proxy"
	"github.com/causeway-cni/causeway/proxy/service"
	"github.com/causeway-cni/causeway/rpc"
)

// serviceProxy is what serves services, in the daemon or alone.
type serviceProxy struct {
	services *services.Services
	audience *audience
	rules    *proxy.Proxy
	metrics  *telemetry.Metrics
	kube     *kube.Client
	log      *slog.Logger
	tuner    *proxy.Tuner
	config   proxyConfig

	write, sweep *loop.Loop
	book         atomic.Pointer[allocator.Allocator] // nil without pods of ours
	hostPorts    map[service.Key]bool                // pods whose host ports were told
	natBy        time.Time                           // services wait for external SNAT no longer
}

// proxyConfig is what both ways of running agree on.
type proxyConfig struct {
	config.Proxy
	Kube       config.Kube
	Conntrack  config.Conntrack
	Server     string // URL in place of the kubeconfig file's
	NodeName   string // of settings, for messages
	PodLinks   string
	SyncPeriod time.Duration
	ENIConfigs bool   // are to be watched
	Expected   string // file that keeps settings over a restart; "" for none
	NAT        bool   // external SNAT comes, too
	Writable   string // see config.Host
}

// aloneWindow is the daemon's default, for a proxy that was told none.
const aloneWindow = 20 * time.Millisecond

// syncPeriod is kube-proxy's: a change that is not written within two of them
// makes the node unhealthy.
const syncPeriod = 30 * time.Second

// natPause is between looks for external SNAT, for which services wait as long
// as EC2 calls do: it takes milliseconds after a restart.
const natPause = 10 * time.Millisecond

// repairEvery is how often the rules are looked at: a look costs next to
// nothing, and not everybody who changes rules says so.
const repairEvery = 500 * time.Millisecond

func newServiceProxy(c proxyConfig, rules *proxy.Proxy, metrics *telemetry.Metrics, log *slog.Logger) (*serviceProxy, error) {
	client, err := newKube(c.Kube, c.Server, c.NodeName, c.ENIConfigs, log)
	if err != nil {
		return nil, err
	}
	audience := newAudience(rules, string(c.Mode), c.SyncPeriod, metrics, log)
	p := &serviceProxy{rules: rules, metrics: metrics, kube: client, audience: audience, log: log, config: c,
		tuner: proxy.NewTuner(c.Writable), hostPorts: map[service.Key]bool{}}
	if c.NAT {
		p.natBy = time.Now().Add(natGrace)
	}
	var expected proxy.ServiceSettings
	if c.Expected != "" && readKept(c.Expected, &expected) == nil {
		rules.Expect(expected)
	}
	p.services = services.New(services.Settings{
		Proxy: c.Proxy, Liberal: c.Conntrack.Liberal, PodLinks: c.PodLinks, Addrs: localAddrs, Now: time.Now,
		Wake: func() { p.write.Trigger() },
	}, rules, audience, log)
	audience.written = func() { p.sweep.Trigger() }
	audience.keep = p.keep
	audience.alone = func() { rules.TakeOverAgain(); p.write.Trigger() }
	p.write = loop.New(loop.Settings{Name: "services", Spacing: c.Window, Resync: repairEvery,
		Pause: 100 * time.Millisecond, LongestPause: time.Second}, p.step, log, metrics.StepFailed)
	p.sweep = loop.New(loop.Settings{Name: "UDP flows", Coalesce: 10 * time.Millisecond, Resync: time.Minute,
		Pause: 500 * time.Millisecond, LongestPause: 5 * time.Second}, p.sweepFlows, log, metrics.StepFailed)
	return p, nil
}

// newKube makes the client of the Kubernetes API; setting is what names the
// node.
func newKube(c config.Kube, server, setting string, eniConfigs bool, log *slog.Logger) (*kube.Client, error) {
	name, err := nodeName(c.NodeName)
	if err != nil {
		return nil, err
	}
	client, err := kube.New(kube.Settings{
		Kubeconfig: c.Kubeconfig, Endpoint: c.Endpoint, Server: server, ServiceHost: c.ServiceHost,
		Node: name, NodeSetting: setting, ENIConfigs: eniConfigs, Addrs: localAddrs(), Version: rpc.Version, Log: log,
	})
	if err != nil {
		return nil, fmt.Errorf("reaching the Kubernetes API: %w", err)
	}
	return client, nil
}

// tasks are what runs until ctx ends.
func (p *serviceProxy) tasks() []func(context.Context) error {
	return []func(context.Context) error{
		func(ctx context.Context) error { return p.kube.Watch(ctx, p.services) },
		p.write.Run, p.sweep.Run,
		func(ctx context.Context) error { return p.audience.run(ctx, p.config.HealthAddr) },
		func(ctx context.Context) error {
			return serveHTTP(ctx, p.log, "CAUSEWAY_PROXY_METRICS_BIND_ADDRESS", p.config.MetricsAddr,
				telemetry.ProxyHandler(p.metrics, string(p.config.Mode)))
		},
	}
}

func (p *serviceProxy) step(ctx context.Context) (time.Duration, error) {
	if book := p.book.Load(); book != nil {
		p.follow(book)
	}
	if time.Now().Before(p.natBy) {
		if waits, err := p.rules.AwaitsNAT(); waits || err != nil {
			return natPause, err
		}
	}
	return 0, p.services.Step(ctx)
}

func (p *serviceProxy) sweepFlows(ctx context.Context) (time.Duration, error) {
	tune(p.tuner, p.config.Conntrack, p.config.LocalhostNodePorts, p.log) // again: others set them, too
	began := time.Now()
	ended, err := p.rules.SweepFlows(ctx)
	p.audience.swept(ended, time.Since(began), err)
	if ended > 0 {
		p.log.Info("UDP flows ended that led to endpoints that are gone", "flows", ended)
	}
	return 0, err
}

// tune sets sysctls.
func tune(t *proxy.Tuner, c config.Conntrack, localhostNodePorts bool, log *slog.Logger) {
	changed, failed := t.Tune(c, localhostNodePorts)
	for _, each := range changed {
		log.Info("sysctl: " + each)
	}
	for _, each := range failed {
		log.Warn("sysctl: " + each)
	}
}

func (p *serviceProxy) keep(s proxy.ServiceSettings) {
	if p.config.Expected == "" {
		return
	}
	if err := keep(p.config.Expected, s); err != nil {
		p.log.Warn("the settings of services are not kept over a restart", "error", err)
	}
}

// follow takes the host ports of pods over from the book.
func (p *serviceProxy) follow(book *allocator.Allocator) {
	now := map[service.Key]bool{}
	for _, a := range book.HostPorts() {
		ports := make([]service.PodPort, 0, len(a.Ports))
		for _, port := range a.Ports {
			ports = append(ports, service.PodPort{
				Host:      service.HostPort{Addr: port.Addr, Port: port.Port},
				Container: port.Container, Protocol: service.Protocol(strings.ToUpper(port.Protocol)),
			})
		}
		for i, address := range a.Addresses() {
			k := podKey(a)
			if i > 0 {
				k.Name += ".ipv6" // a pod has one address here, and this one two
			}
			now[k] = true
			p.services.SetHostPorts(k, address, ports)
		}
	}
	for k := range p.hostPorts {
		if !now[k] {
			p.services.DeleteHostPorts(k)
		}
	}
	p.hostPorts = now
}

// podKey names a pod; a second interface of it has a name of its own.
func podKey(a pool.Assignment) service.Key {
	k := service.Key{Namespace: a.Pod.Namespace, Name: a.Pod.Name}
	if k.Name == "" {
		k.Name = a.Key.ContainerID
	}
	if a.Key.Interface != "eth0" {
		k.Name += "." + a.Key.Interface
	}
	return k
}

// nodeName is the name of our Node: as told, or the host's, as kubelet has it.
func nodeName(told string) (string, error) {
	if told != "" {
		return told, nil
	}
	host, err := os.Hostname()
	if err != nil {
		return "", fmt.Errorf("learning the node's name: %w", err)
	}
	return strings.ToLower(strings.TrimSpace(host)), nil
}

// localAddrs are the addresses that the node has on any link.
func localAddrs() []netip.Addr {
	all, err := net.InterfaceAddrs()
	if err != nil {
		return nil
	}
	var addrs []netip.Addr
	for _, a := range all {
		if p, err := netip.ParsePrefix(a.String()); err == nil {
			addrs = append(addrs, p.Addr().Unmap())
		}
	}
	return addrs
}

// settingsFile keeps the settings of services over a restart.
func settingsFile() string { return filepath.Join(config.StateDir, "services.json") }
