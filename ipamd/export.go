package main

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net"
	"os"
	"path/filepath"
	"time"

	"github.com/spf13/cobra"
	"golang.org/x/sys/unix"

	"github.com/causeway-cni/causeway/config"
	"github.com/causeway-cni/causeway/ipamd/internal/awsnode"
	"github.com/causeway-cni/causeway/ipamd/internal/checkpoint"
	"github.com/causeway-cni/causeway/ipamd/internal/pool"
)

// exportCommand is the way back to aws-node.
func exportCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "export [FILE]",
		Short: "Write the assignments as aws-node keeps them, to give the node back",
		Long: `Write the assignments of this node into FILE as aws-node keeps them, so that
aws-node can take the node over while its pods run. FILE is that of
AWS_VPC_K8S_CNI_BACKING_STORE if it is not given.

To give a node back: stop ipamd, run this, start aws-node. It also runs beside
ipamd, but pods that come or go after it are not in the file: aws-node would
hand their addresses out again. Where aws-node itself runs nothing is written:
it reads its file at its start only, and replaces it.

The file gets the time of our last change: if it is younger when ipamd starts
again, aws-node wrote it, and ipamd takes the node over anew.`,
		Args: cobra.MaximumNArgs(1), SilenceUsage: true,
		RunE: func(cmd *cobra.Command, args []string) error {
			c, _, err := configure()
			if err != nil {
				return err
			}
			file := c.Daemon.BackingStore
			if len(args) > 0 {
				file = args[0]
			}
			return export(cmd.OutOrStdout(), cmd.ErrOrStderr(), config.StateDir, config.BookDir, file)
		},
	}
}

// export writes the book in bookDir into file. An assignment that aws-node
// could not keep is told on complaints, and is an error after the others are
// written.
func export(out, complaints io.Writer, stateDir, bookDir, file string) error {
	if socket := filepath.Join(filepath.Dir(file), "ipamd.sock"); answers(socket) {
		return fmt.Errorf("exporting to %s: aws-node runs (it listens on %s), and would replace the file: stop it first", file, socket)
	}
	held, changed, err := readBook(bookDir)
	if err != nil {
		return fmt.Errorf("exporting to %s: %w; nothing was written", file, err)
	}
	text, written, refused, err := awsnode.Format(held)
	if err == nil {
		err = replaceFile(file, text, 0o600, changed)
	}
	if err != nil {
		return fmt.Errorf("exporting to %s: %w", file, err)
	}
	fmt.Fprintf(out, "wrote %d of %d assignments to %s\n", written, len(held), file)
	if locked(stateDir) {
		fmt.Fprintln(complaints, "warning: ipamd runs: pods that come or go from now on are not in the file. Stop it and export again before aws-node starts.")
	}
	for _, r := range refused {
		fmt.Fprintln(complaints, "left out:", r)
	}
	if len(refused) > 0 {
		return fmt.Errorf("%d assignments are not in %s: aws-node would hand their addresses out again; delete these pods before it starts", len(refused), file)
	}
	return nil
}

// readBook returns what is held, and when that last changed. A book that is not
// there or not whole is an error: what it lacks would be handed out again.
func readBook(dir string) (held []pool.Assignment, changed time.Time, err error) {
	info, err := os.Stat(dir) // before it is read: what changes meanwhile is younger
	if errors.Is(err, fs.ErrNotExist) {
		return nil, changed, fmt.Errorf("there is no book in %s: ipamd has not run on this node since it booted", dir)
	}
	if err != nil {
		return nil, changed, err
	}
	records, unreadable, err := checkpoint.Read(dir)
	if err = errors.Join(append(unreadable, err)...); err != nil {
		return nil, changed, err
	}
	for _, r := range records {
		if r.Assignment != nil {
			held = append(held, *r.Assignment)
		}
	}
	return held, info.ModTime(), nil
}

// answers says whether somebody listens on a socket.
func answers(socket string) bool {
	conn, err := net.DialTimeout("unix", socket, time.Second)
	if err == nil {
		conn.Close()
	}
	return err == nil
}

// locked says whether an ipamd holds the lock of the state directory.
func locked(dir string) bool {
	file, err := os.Open(filepath.Join(dir, "lock"))
	if err != nil {
		return false
	}
	defer file.Close()
	return errors.Is(unix.Flock(int(file.Fd()), unix.LOCK_SH|unix.LOCK_NB), unix.EWOULDBLOCK)
}
