package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"time"

	"golang.org/x/sys/unix"

	"github.com/causeway-cni/causeway/cni-plugin/notes"
	"github.com/causeway-cni/causeway/ipamd/internal/ec2"
	"github.com/causeway-cni/causeway/ipamd/internal/pool"
	"github.com/causeway-cni/causeway/ipamd/internal/server"
	"github.com/causeway-cni/causeway/rpc"
)

// lock waits until no other ipamd runs on this node: two would hand out the
// same addresses. The kernel drops the lock of a daemon that is killed.
func lock(ctx context.Context, dir string, log *slog.Logger) (unlock func(), err error) {
	tick := time.NewTicker(100 * time.Millisecond)
	defer tick.Stop()
	for said := false; ; said = true {
		unlock, err := tryLock(dir)
		if !errors.Is(err, unix.EWOULDBLOCK) {
			return unlock, err
		}
		if !said {
			log.Info("waiting for another ipamd on this node to end", "state", dir)
		}
		select {
		case <-ctx.Done():
			return nil, fmt.Errorf("waiting for another ipamd on this node to end: %w", ctx.Err())
		case <-tick.C:
		}
	}
}

// tryLock fails with EWOULDBLOCK where another ipamd has the lock.
func tryLock(dir string) (unlock func(), err error) {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, fmt.Errorf("opening the state directory: %w", err)
	}
	file, err := os.OpenFile(filepath.Join(dir, "lock"), os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		return nil, fmt.Errorf("opening the state directory: %w", err)
	}
	if err := unix.Flock(int(file.Fd()), unix.LOCK_EX|unix.LOCK_NB); err != nil {
		file.Close()
		return nil, fmt.Errorf("locking %s: %w", file.Name(), err)
	}
	return func() { file.Close() }, nil
}

// awaitIdentity asks the metadata service which instance this is. The answer
// holds until the next boot and is kept beside the book, so that a restart
// does not depend on that service.
func awaitIdentity(ctx context.Context, dir string, log *slog.Logger) (ec2.Identity, error) {
	path := filepath.Join(dir, "identity.json")
	var known ec2.Identity
	if err := readKept(path, &known); err == nil && known.InstanceID != "" {
		log.Info("this instance is known from before", "instance", known.InstanceID, "type", known.InstanceType)
		return known, nil
	} else if err != nil && !errors.Is(err, fs.ErrNotExist) {
		log.Warn("the instance's identity was kept but cannot be read; asking anew", "error", err)
	}
	found, err := ec2.AwaitIdentity(ctx, log)
	if err != nil {
		return found, err
	}
	log.Info("this instance is known", "instance", found.InstanceID, "type", found.InstanceType, "eni", found.PrimaryENI)
	return found, keep(path, found)
}

// keep writes a value aside and renames it, so that it is whole or not there.
func keep(path string, value any) error {
	text, err := json.Marshal(value)
	if err == nil {
		err = os.WriteFile(path+".new", append(text, '\n'), 0o600)
	}
	if err == nil {
		err = os.Rename(path+".new", path)
	}
	if err != nil {
		return fmt.Errorf("keeping %s: %w", path, err)
	}
	return nil
}

func readKept(path string, value any) error {
	text, err := os.ReadFile(path)
	if err == nil {
		err = json.Unmarshal(text, value)
	}
	if err != nil {
		return fmt.Errorf("reading %s: %w", path, err)
	}
	return nil
}

// awaitLimits finds the limits of the instance type; EC2 is asked for a type
// that the table does not have, until it answers.
func awaitLimits(ctx context.Context, cloud *ec2.Cloud, instanceType string, log *slog.Logger) (pool.Limits, error) {
	for pause := time.Second; ; pause = min(2*pause, 15*time.Second) {
		limits, err := cloud.Limits(ctx, instanceType)
		if err == nil {
			return limits, nil
		}
		log.Error("learning the limits of the instance type", "type", instanceType, "error", err, "retry_in", pause)
		select {
		case <-ctx.Done():
			return limits, ctx.Err()
		case <-time.After(pause):
		}
	}
}

// readNotes releases what the plugin noted while the daemon was away.
func readNotes(ctx context.Context, dir string, s *server.Server) error {
	pending, err := notes.Pending(dir)
	failed := []error{err}
	for path, n := range pending {
		_, err := s.Release(ctx, &rpc.ReleaseRequest{
			Attachment: &rpc.Attachment{Network: n.Network, ContainerId: n.ContainerID, Interface: n.Interface},
			Pod:        &rpc.Pod{Namespace: n.Namespace, Name: n.Pod}, Reason: n.Reason + ", noted while ipamd was away",
		})
		if err == nil {
			err = os.Remove(path)
		}
		failed = append(failed, err)
	}
	return errors.Join(failed...)
}
