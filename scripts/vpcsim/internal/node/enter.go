package node

import (
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"os/signal"
	"runtime"
	"syscall"

	"golang.org/x/sys/unix"

	"github.com/causeway-cni/causeway/scripts/vpcsim/internal/namespace"
)

// Command is a program to run in a node, or in a network namespace that is
// not a node's.
type Command struct {
	PID    int    // the node's pid 1; 0 if it is not a node
	Space  string // the network namespace, where PID is 0
	Args   []string
	Env    []string
	Stdin  io.Reader
	Stdout io.Writer
	Stderr io.Writer
}

// Run runs the command to its end and returns its exit code, as a shell tells
// it: 128 and the signal's number for a program that was killed. The program
// ends when the calling process does.
func (c Command) Run() (int, error) {
	if len(c.Args) == 0 {
		return 0, errors.New("no command to run")
	}
	signals := make(chan os.Signal, 16)
	signal.Notify(signals, unix.SIGTERM, unix.SIGINT, unix.SIGHUP, unix.SIGQUIT)
	defer signal.Stop(signals)
	// The program learns by the end of this pipe that the calling process
	// ended before it could ask to end with it.
	alive, held, err := os.Pipe()
	if err != nil {
		return 0, fmt.Errorf("making a pipe: %w", err)
	}
	defer held.Close() //nolint:errcheck // nothing is written
	cmd, err := c.start(alive)
	if err != nil {
		return 0, err
	}
	go func() {
		for s := range signals {
			// A terminal has told the program itself; a signal for both is
			// one that most programs take twice without harm.
			_ = cmd.Process.Signal(s)
		}
	}()
	return exitCode(cmd.Wait())
}

func exitCode(err error) (int, error) {
	var exit *exec.ExitError
	if !errors.As(err, &exit) {
		return 0, err
	}
	if status, ok := exit.Sys().(syscall.WaitStatus); ok && status.Signaled() {
		return 128 + int(status.Signal()), nil
	}
	return exit.ExitCode(), nil
}

// start starts the program from a thread that is in the right namespaces. The
// thread is never let go, because its end would be the program's.
func (c Command) start(alive *os.File) (*exec.Cmd, error) {
	defer alive.Close() //nolint:errcheck // the program has its own
	type outcome struct {
		cmd *exec.Cmd
		err error
	}
	started := make(chan outcome)
	go func() {
		runtime.LockOSThread()
		cmd, err := c.startHere(alive)
		started <- outcome{cmd, err}
		if err == nil {
			select {}
		}
	}()
	o := <-started
	return o.cmd, o.err
}

func (c Command) startHere(alive *os.File) (*exec.Cmd, error) {
	if err := c.enter(); err != nil {
		return nil, err
	}
	// This very program, whatever is at its path in the node; see Become.
	cmd := &exec.Cmd{
		Path: "/proc/self/exe", Args: append([]string{"vpcsim", BecomeCommand}, c.Args...),
		Env: c.Env, Stdin: c.Stdin, Stdout: c.Stdout, Stderr: c.Stderr,
		ExtraFiles: []*os.File{alive}, // aliveFD
	}
	if err := cmd.Start(); err != nil {
		return nil, fmt.Errorf("running %q: %w", c.Args[0], err)
	}
	return cmd, nil
}

// BecomeCommand is the hidden command of the vpcsim program under which it
// calls Become.
const BecomeCommand = "become"

// aliveFD is the reading end of a pipe whose other end closes with the parent.
const aliveFD = 3

// Become replaces the calling process by a program that is killed when its
// parent ends. The parent is in another pid namespace, across which a process
// cannot make this arrangement for its child (Pdeathsig), so the child does.
func Become(args []string) error {
	path, err := exec.LookPath(args[0])
	if err != nil {
		return fmt.Errorf("running %q: %w", args[0], err)
	}
	runtime.LockOSThread() // the arrangement belongs to the thread
	if err := unix.Prctl(unix.PR_SET_PDEATHSIG, uintptr(unix.SIGKILL), 0, 0, 0); err != nil {
		return fmt.Errorf("asking to end with the parent: %w", err)
	}
	unix.CloseOnExec(aliveFD)
	if hungUp, err := unix.Poll([]unix.PollFd{{Fd: aliveFD}}, 0); err != nil {
		return fmt.Errorf("looking for the parent: %w", err)
	} else if hungUp > 0 {
		return fmt.Errorf("running %q: the parent has ended", path)
	}
	return fmt.Errorf("running %q: %w", path, unix.Exec(path, args, os.Environ()))
}

// enter brings the calling thread into the namespaces.
func (c Command) enter() error {
	if c.PID == 0 {
		return setns(namespace.Path(c.Space), unix.CLONE_NEWNET)
	}
	dir, err := os.Getwd()
	if err != nil {
		dir = "/"
	}
	// A thread that shares its working directory cannot change mount namespaces.
	if err := unix.Unshare(unix.CLONE_FS); err != nil {
		return fmt.Errorf("unsharing the working directory: %w", err)
	}
	// The mount namespace comes last: then /proc is the node's.
	for _, ns := range []struct {
		file string
		kind int
	}{{"net", unix.CLONE_NEWNET}, {"uts", unix.CLONE_NEWUTS}, {"pid", unix.CLONE_NEWPID}, {"mnt", unix.CLONE_NEWNS}} {
		if err := setns(fmt.Sprintf("/proc/%d/ns/%s", c.PID, ns.file), ns.kind); err != nil {
			return err
		}
	}
	if unix.Chdir(dir) != nil {
		return unix.Chdir("/")
	}
	return nil
}

func setns(path string, kind int) error {
	file, err := os.Open(path)
	if err != nil {
		return fmt.Errorf("opening namespace: %w", err)
	}
	defer file.Close()
	if err := unix.Setns(int(file.Fd()), kind); err != nil {
		return fmt.Errorf("entering namespace %s: %w", path, err)
	}
	return nil
}
