package main

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"os"

	"github.com/spf13/cobra"
	"golang.org/x/sync/errgroup"

	"github.com/causeway-cni/causeway/config"
	"github.com/causeway-cni/causeway/ipamd/internal/kubeproxy"
	"github.com/causeway-cni/causeway/ipamd/internal/telemetry"
	"github.com/causeway-cni/causeway/ipamd/linux/kernel"
	"github.com/causeway-cni/causeway/proxy"
	"github.com/causeway-cni/causeway/rpc"
)

// proxyCommand is the service proxy alone. It reads its flags itself, since
// they are kube-proxy's.
func proxyCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "proxy",
		Short: "Serve services only, in place of kube-proxy, beside another CNI; takes kube-proxy's flags",
		Long: `Serve services only, in place of kube-proxy, for clusters that keep their CNI.
It takes kube-proxy's flags, or its KubeProxyConfiguration file by --config.`,
		DisableFlagParsing: true, SilenceUsage: true, SilenceErrors: true,
		RunE: func(cmd *cobra.Command, args []string) error {
			return runProxy(cmd.Context(), cmd.OutOrStdout(), args)
		},
	}
}

func runProxy(ctx context.Context, out io.Writer, args []string) error {
	c, warnings, err := kubeproxy.Load(args)
	if err != nil {
		return fmt.Errorf("these settings cannot be used:\n%w", err)
	}
	level := slog.LevelInfo
	if c.Verbosity >= 4 {
		level = slog.LevelDebug
	}
	log := slog.New(slog.NewTextHandler(os.Stderr, &slog.HandlerOptions{Level: level}))
	for _, w := range warnings {
		log.Warn(w)
	}
	rules := newRules(config.Config{Proxy: c.Proxy})
	switch c.Task {
	case kubeproxy.Version:
		_, err = fmt.Fprintln(out, "causeway proxy", rpc.Version)
	case kubeproxy.Help:
		_, err = fmt.Fprint(out, kubeproxy.Usage())
	case kubeproxy.Cleanup:
		err = cleanUp(ctx, log)
	case kubeproxy.Init:
		tune(new(proxy.Tuner), c.Conntrack, c.Proxy.LocalhostNodePorts, log)
	default:
		err = serveAlone(ctx, c, rules, log)
	}
	return err
}

// serveAlone serves services until ctx ends.
func serveAlone(ctx context.Context, c kubeproxy.Config, rules *proxy.Proxy, log *slog.Logger) error {
	metrics := telemetry.New(rpc.Version, func() telemetry.Snapshot { return telemetry.Snapshot{} })
	if c.Proxy.Window == 0 {
		c.Proxy.Window = aloneWindow
	}
	p, err := newServiceProxy(proxyConfig{
		Proxy: c.Proxy, Kube: c.Kube, Conntrack: c.Conntrack, Server: c.Server, NodeName: "--hostname-override",
		PodLinks: config.VethPrefix, SyncPeriod: c.SyncPeriod,
	}, rules, metrics, log)
	if err != nil {
		return err
	}
	tasks, ctx := errgroup.WithContext(ctx)
	for _, task := range p.tasks() {
		tasks.Go(func() error { return task(ctx) })
	}
	if c.Proxy.Mode != config.ProxyNFTables {
		tasks.Go(func() error { return kernel.WatchNetfilter(ctx, p.write.Trigger) })
	}
	log.Info("causeway proxy started", "version", rpc.Version, "mode", c.Proxy.Mode)
	err = tasks.Wait()
	log.Info("causeway proxy stopped; services stay as they are", "error", err)
	return err
}

// cleanUp removes services from everywhere.
func cleanUp(ctx context.Context, log *slog.Logger) error {
	for _, p := range []*proxy.Proxy{
		proxy.New(proxy.NFTables, proxy.Auto), proxy.New(proxy.IPTables, proxy.NFT), proxy.New(proxy.IPTables, proxy.Legacy),
	} {
		done, err := p.CleanupServices(ctx)
		for _, d := range done {
			log.Info("clean-up: " + d)
		}
		if err != nil {
			return fmt.Errorf("cleaning up: %w", err)
		}
	}
	return nil
}
