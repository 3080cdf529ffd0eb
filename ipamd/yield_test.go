package main

import (
	"context"
	"errors"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"testing"
)

// kubeProxys is a node on which kube-proxy comes, or does not.
type kubeProxys struct {
	serves bool
	ours   []string
	asked  int
	fails  error
}

func (k *kubeProxys) Yield(context.Context) ([]string, bool, error) {
	if k.asked++; k.fails != nil || !k.serves {
		return nil, false, k.fails
	}
	removed := k.ours
	k.ours = nil
	return removed, true, nil
}

// TestYielding keeps looking for kube-proxy as long as services of ours may be
// there, and no longer.
func TestYielding(t *testing.T) {
	rules := &kubeProxys{ours: []string{"3 chains"}}
	y := &yielding{settings: filepath.Join(t.TempDir(), "services.json"), rules: rules, log: slog.New(slog.DiscardHandler)}
	step := func(what string, asked int, there bool) {
		t.Helper()
		if _, err := y.step(t.Context()); !errors.Is(err, rules.fails) {
			t.Errorf("%s: %v", what, err)
		}
		_, err := os.Stat(y.settings)
		if rules.asked != asked || errors.Is(err, fs.ErrNotExist) == there {
			t.Errorf("%s: looked %d times, the file: %v", what, rules.asked, err)
		}
	}
	step("we never served", 0, false)
	write(t, y.settings, "{}")
	step("nobody serves", 1, true)
	rules.fails = errors.New("no iptables")
	step("a failure", 2, true)
	rules.fails, rules.serves = nil, true
	step("kube-proxy serves", 3, true)
	step("nothing of ours is left", 4, false)
	step("all is done", 4, false)
}
