package iptables

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"os/exec"
	"strconv"
	"strings"

	"github.com/causeway-cni/causeway/proxy/internal/ruleset"
)

// save runs iptables-save and gives what it says to read as it comes.
func save(ctx context.Context, program string, read func(io.Reader) error) error {
	cmd := exec.CommandContext(ctx, program+"-save")
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	stdout, err := cmd.StdoutPipe()
	if err != nil {
		return fmt.Errorf("running %s-save: %w", program, err)
	}
	if err := cmd.Start(); err != nil {
		return fmt.Errorf("running %s-save: %w", program, err)
	}
	readErr := read(stdout)
	_, drainErr := io.Copy(io.Discard, stdout) // it ends only when all is read
	if err := told(program+"-save", cmd.Wait(), &stderr); err != nil {
		return err
	}
	if err := cmp.Or(readErr, drainErr); err != nil {
		return fmt.Errorf("reading %s-save: %w", program, err)
	}
	return nil
}

// restore carries out changes of our chains in one table as one transaction.
func (b *Backend) restore(ctx context.Context, changes []ruleset.Change) error {
	input := transaction(changes)
	return b.counters.write(ctx, func() error {
		err := b.feed(ctx, strings.NewReader(input))
		if err != nil {
			return fmt.Errorf("%w; input:\n%s", err, input)
		}
		return nil
	})
}

// feed gives iptables-restore its input.
func (b *Backend) feed(ctx context.Context, input io.Reader) error {
	program := b.program + "-restore"
	cmd := exec.CommandContext(ctx, program, "--noflush", "-w", strconv.Itoa(lockSeconds))
	var stderr bytes.Buffer
	cmd.Stdin, cmd.Stderr = input, &stderr
	return told(program, cmd.Run(), &stderr)
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

// told adds what a program said to its failure.
func told(program string, err error, stderr *bytes.Buffer) error {
	var exit *exec.ExitError
	if errors.As(err, &exit) {
		return &programError{program, strings.TrimSpace(stderr.String()), exit}
	}
	if err != nil {
		return fmt.Errorf("running %s: %w", program, err)
	}
	return nil
}
