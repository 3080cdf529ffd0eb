package daemon

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"time"
)

// Command is the hidden command of the vpcsim program under which it is the
// daemon; its argument is the simulator's name. The topology comes on standard
// input.
const Command = "daemon"

// The daemon is born with these open files besides the standard ones.
const (
	readyFD = 3 // where it says "ready", or what is wrong
	lockFD  = 4 // held open, and locked, for as long as it lives
)

const readyWord = "ready\n"

// readyLimit is how long a simulator may take to be ready. Two nodes take less
// than a second on an idle machine.
const readyLimit = time.Minute

// Up starts a daemon in the background and returns when all nodes are ready.
// It first removes what a killed simulator of the same name has left, and
// refuses if one is running.
func Up(ctx context.Context, s State, topology []byte) error {
	old, err := s.takeName()
	if err != nil {
		return err
	}
	// The old folder goes, and its lock with it.
	err = s.clean(ctx)
	old.Close()
	if err != nil {
		return err
	}
	lock, err := s.takeName()
	if err != nil {
		return err
	}
	defer lock.Close()
	if err := s.launch(ctx, topology, lock); err != nil {
		return fmt.Errorf("starting simulator %s: %w", s.Name, err)
	}
	return nil
}

func (s State) takeName() (*os.File, error) {
	lock, err := s.lock()
	if errors.Is(err, errBusy) {
		return nil, fmt.Errorf("simulator %s is up already: take it down with `vpcsim down --name %s`, or choose another --name", s.Name, s.Name)
	}
	if err != nil {
		return nil, fmt.Errorf("starting simulator %s: %w", s.Name, err)
	}
	return lock, nil
}

// launch starts the daemon, hands it the lock and waits for its word.
func (s State) launch(ctx context.Context, topology []byte, lock *os.File) error {
	ctx, cancel := context.WithTimeoutCause(ctx, readyLimit, fmt.Errorf("it was not ready within %s", readyLimit))
	defer cancel()
	program, err := os.Executable()
	if err != nil {
		return fmt.Errorf("finding the vpcsim program: %w", err)
	}
	log, err := os.OpenFile(s.Log(), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o644)
	if err != nil {
		return fmt.Errorf("opening the log: %w", err)
	}
	defer log.Close()
	ready, readyChild, err := os.Pipe()
	if err != nil {
		return err
	}
	defer ready.Close()
	cmd := exec.Command(program, Command, s.Name)
	cmd.Dir, cmd.Stdin, cmd.Stdout, cmd.Stderr = "/", bytes.NewReader(topology), log, log
	cmd.ExtraFiles = []*os.File{readyChild, lock}
	cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true}
	err = cmd.Start()
	readyChild.Close()
	if err != nil {
		return fmt.Errorf("starting the daemon: %w", err)
	}
	if err := writeRecord(s.daemonRecord(), cmd.Process.Pid); err != nil {
		_ = cmd.Process.Kill()
		return errors.Join(err, cmd.Wait())
	}
	if err := awaitReady(ctx, ready); err != nil {
		tail := s.logTail()
		// It may have given up or may hang. How it ends does not matter.
		_ = cmd.Process.Kill()
		_ = cmd.Wait()
		return errors.Join(err, tail, s.clean(context.WithoutCancel(ctx)))
	}
	return cmd.Process.Release()
}

// awaitReady reads what the daemon says of itself.
func awaitReady(ctx context.Context, ready *os.File) error {
	stop := context.AfterFunc(ctx, func() { ready.Close() })
	defer stop()
	said, err := io.ReadAll(ready)
	switch {
	case ctx.Err() != nil:
		return context.Cause(ctx)
	case err != nil:
		return fmt.Errorf("waiting for the daemon: %w", err)
	case len(said) == 0:
		return errors.New("the daemon ended without a word")
	case string(said) != readyWord:
		return errors.New(strings.TrimSpace(string(said)))
	}
	return nil
}

// logTail returns the last lines of the log as an error to be shown, or nil.
func (s State) logTail() error {
	const lines = 15
	data, err := os.ReadFile(s.Log())
	text := strings.TrimSpace(string(data))
	if err != nil || text == "" {
		return nil
	}
	all := strings.Split(text, "\n")
	return fmt.Errorf("the end of its log:\n%s", strings.Join(all[max(0, len(all)-lines):], "\n"))
}
