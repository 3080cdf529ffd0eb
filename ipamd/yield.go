package main

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"time"

	"github.com/causeway-cni/causeway/ipamd/internal/loop"
	"github.com/causeway-cni/causeway/proxy"
)

// yielding gives the services of a run before this one to kube-proxy: our rules
// go once its own are there. The file of their settings says that there were
// any, and goes last.
type yielding struct {
	settings string // file
	rules    interface {
		Yield(context.Context) (removed []string, served bool, err error)
	}
	log  *slog.Logger
	said bool
}

// yieldLoop looks for kube-proxy's rules while ours are there.
func (d *daemon) yieldLoop() *loop.Loop {
	var expected proxy.ServiceSettings
	if readKept(settingsFile(), &expected) == nil {
		d.rules.Expect(expected)
	}
	y := &yielding{settings: settingsFile(), rules: d.rules, log: d.log}
	return loop.New(loop.Settings{Name: "services of before", Resync: 5 * time.Second, Pause: time.Second, LongestPause: 10 * time.Second},
		y.step, d.log, d.metrics.StepFailed)
}

func (y *yielding) step(ctx context.Context) (time.Duration, error) {
	if _, err := os.Stat(y.settings); errors.Is(err, fs.ErrNotExist) {
		return 0, nil
	}
	removed, served, err := y.rules.Yield(ctx)
	for _, each := range removed {
		y.log.Info("services: removed " + each)
	}
	switch {
	case err != nil:
		return 0, fmt.Errorf("giving services to kube-proxy: %w", err)
	case !served && !y.said:
		y.said = true
		y.log.Info("services: what we wrote of them stays until external SNAT is in place and kube-proxy has rules of its own")
	case served && len(removed) == 0: // after a look that found nothing more
		y.log.Info("services: they are kube-proxy's")
		return 0, os.Remove(y.settings)
	}
	return 0, nil
}
