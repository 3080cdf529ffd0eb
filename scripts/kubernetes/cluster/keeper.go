package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"github.com/causeway-cni/causeway/scripts/e2e/harness"
	"github.com/causeway-cni/causeway/scripts/kubernetes"
)

// keeper is the process that a cluster lives with: all programs end with it.
type keeper struct {
	name, dir, mode string
	nodes           int
}

// lockFile is held by the keeper for its life, and has its process ID.
func (k keeper) lockFile() string { return k.dir + ".lock" }

// endLimit is how long a cluster may take to end.
const endLimit = 2 * time.Minute

// up starts a keeper in the background, passes its words on, and waits until the
// cluster is ready.
func (k keeper) up(ctx context.Context) error {
	program, err := os.Executable()
	if err != nil {
		return err
	}
	words, wordsChild, err := os.Pipe()
	if err != nil {
		return err
	}
	defer words.Close()
	ready, readyChild, err := os.Pipe()
	if err != nil {
		return err
	}
	defer ready.Close()
	cmd := exec.Command(program, "-name", k.name, "-nodes", fmt.Sprint(k.nodes), "-mode", k.mode, keep)
	cmd.Stdout, cmd.Stderr, cmd.ExtraFiles = wordsChild, wordsChild, []*os.File{readyChild}
	cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true}
	err = cmd.Start()
	err = errors.Join(err, wordsChild.Close(), readyChild.Close())
	if err != nil {
		return err
	}
	stop := context.AfterFunc(ctx, func() { _ = cmd.Process.Signal(unix.SIGTERM) }) // it may have ended
	defer stop()
	if _, err := io.Copy(os.Stdout, words); err != nil {
		return err
	}
	if said, err := io.ReadAll(ready); err != nil || string(said) != readyWord {
		return errors.Join(errors.New("the cluster is not up"), err, cmd.Wait())
	}
	return cmd.Process.Release()
}

// readyFD is where a keeper says readyWord when the cluster is.
const (
	readyFD   = 3
	readyWord = "ready"
)

// keep raises the cluster, and ends it when it is told to.
func (k keeper) keep(ctx context.Context) (err error) {
	ready := os.NewFile(readyFD, "ready")
	unix.CloseOnExec(readyFD)
	lock, err := k.lock()
	if err != nil {
		return err
	}
	defer lock.Close()
	if err := k.clean(ctx); err != nil {
		return err
	}
	c, err := kubernetes.Up(ctx, kubernetes.Options{
		Name: k.name, Dir: k.dir, Nodes: k.nodes, ProxyMode: k.mode, Say: func(line string) { fmt.Println(line) },
	})
	if err != nil {
		return err
	}
	k.print(c)
	if err := k.goQuiet(ready); err != nil {
		return errors.Join(err, c.Close())
	}
	<-ctx.Done()
	return c.Close()
}

// goQuiet lets go of the terminal: what is said from now on is in a file.
func (k keeper) goQuiet(ready *os.File) error {
	log, err := os.Create(filepath.Join(k.dir, "keeper.log"))
	if err != nil {
		return err
	}
	defer log.Close()
	for _, fd := range []int{1, 2} {
		if err := unix.Dup3(int(log.Fd()), fd, 0); err != nil {
			return fmt.Errorf("leaving the terminal: %w", err)
		}
	}
	_, err = ready.WriteString(readyWord)
	return errors.Join(err, ready.Close())
}

// lock makes this process the cluster's keeper.
func (k keeper) lock() (*os.File, error) {
	if err := os.MkdirAll(filepath.Dir(k.dir), 0o755); err != nil {
		return nil, err
	}
	file, err := os.OpenFile(k.lockFile(), os.O_CREATE|os.O_RDWR|syscall.O_CLOEXEC, 0o600)
	if err != nil {
		return nil, err
	}
	if err := unix.Flock(int(file.Fd()), unix.LOCK_EX|unix.LOCK_NB); err != nil {
		file.Close()
		return nil, fmt.Errorf("cluster %s is up: take it down first: %w", k.name, err)
	}
	if err := file.Truncate(0); err != nil {
		return nil, errors.Join(err, file.Close())
	}
	return file, json.NewEncoder(file).Encode(os.Getpid())
}

// down ends the keeper, and removes what one that was killed has left.
func (k keeper) down(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, endLimit)
	defer cancel()
	err := harness.Poll(ctx, func() error {
		lock, err := k.lock()
		if err == nil {
			return lock.Close()
		}
		return errors.Join(err, k.signal())
	})
	if err != nil {
		return err
	}
	if err := k.clean(ctx); err != nil {
		return err
	}
	return os.Remove(k.lockFile())
}

// signal tells the keeper to end. Its ID is certain: it holds the lock.
func (k keeper) signal() error {
	text, err := os.ReadFile(k.lockFile())
	if err != nil {
		return err
	}
	var pid int
	if err := json.Unmarshal(text, &pid); err != nil || pid <= 0 {
		return fmt.Errorf("reading %s: %q is no process ID: %w", k.lockFile(), text, err)
	}
	return unix.Kill(pid, unix.SIGTERM)
}

// clean removes what is left of a cluster without a keeper.
func (k keeper) clean(ctx context.Context) error {
	if _, err := os.Stat(k.dir); errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	return kubernetes.Clean(ctx, harness.In(filepath.Join(k.dir, "bin")).Vpcsim, k.name, k.dir)
}
