package iptables

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os/exec"
	"strconv"
	"strings"

	"github.com/causeway-cni/causeway/proxy/internal/ruleset"
)

// save runs iptables-save and reads what it says.
func save(ctx context.Context, program string) (ruleset.Saved, error) {
	text, err := run(ctx, "", program+"-save")
	if err != nil {
		return nil, err
	}
	saved, err := ruleset.Parse(text)
	if err != nil {
		return nil, fmt.Errorf("reading %s-save: %w", program, err)
	}
	return saved, nil
}

// restore carries out changes of our chains in one table as one transaction.
func (b *Backend) restore(ctx context.Context, changes []ruleset.Change) error {
	input := transaction(changes)
	return b.counters.write(ctx, func() error {
		_, err := run(ctx, input, b.program+"-restore", "--noflush", "-w", strconv.Itoa(lockSeconds))
		if err != nil {
			return fmt.Errorf("%w; input:\n%s", err, input)
		}
		return nil
	})
}

// transaction is the input of iptables-restore. Declaring a chain makes it, or
// empties it.
func transaction(changes []ruleset.Change) string {
	var b strings.Builder
	fmt.Fprintf(&b, "*%s\n", changes[0].Table)
	for _, c := range changes {
		fmt.Fprintf(&b, ":%s - [0:0]\n", c.Chain)
	}
	for _, c := range changes {
		if c.Op == ruleset.Drop {
			fmt.Fprintf(&b, "-X %s\n", c.Chain)
		}
		for _, r := range c.Rules {
			fmt.Fprintf(&b, "-A %s %s\n", c.Chain, r)
		}
	}
	b.WriteString("COMMIT\n")
	return b.String()
}

// programError is the failure of a program, with what it said.
type programError struct {
	program, said string
	err           *exec.ExitError
}

func (e *programError) Error() string {
	return fmt.Sprintf("%s: %v: %s", e.program, e.err, e.said)
}

func (e *programError) Unwrap() error   { return e.err }
func (e *programError) ExitStatus() int { return e.err.ExitCode() }

func run(ctx context.Context, input, program string, args ...string) (string, error) {
	cmd := exec.CommandContext(ctx, program, args...)
	cmd.Stdin = strings.NewReader(input)
	var stdout, stderr bytes.Buffer
	cmd.Stdout, cmd.Stderr = &stdout, &stderr
	err := cmd.Run()
	var exit *exec.ExitError
	if errors.As(err, &exit) {
		return "", &programError{program, strings.TrimSpace(stderr.String()), exit}
	}
	if err != nil {
		return "", fmt.Errorf("running %s: %w", program, err)
	}
	return stdout.String(), nil
}
