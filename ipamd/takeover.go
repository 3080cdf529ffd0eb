package main

import (
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"

	"github.com/causeway-cni/causeway/config"
	"github.com/causeway-cni/causeway/ipamd/internal/awsnode"
	"github.com/causeway-cni/causeway/ipamd/internal/checkpoint"
	"github.com/causeway-cni/causeway/ipamd/internal/datapath"
	"github.com/causeway-cni/causeway/ipamd/internal/pool"
)

// retire puts our book aside if aws-node wrote its own since: then the node was
// its for a while, and ours is of pods that are gone. An exported book is as
// old as ours, so that it does not count. One that cannot be read replaces
// nothing.
func retire(book string, c config.Config, log *slog.Logger) error {
	ours, err := os.Stat(book)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("looking for a book that is younger than ours: %w", err)
	}
	theirs, err := os.Stat(c.Daemon.BackingStore)
	if err != nil || !theirs.ModTime().After(ours.ModTime()) {
		return nil // a file that is there and cannot be read is told of at import
	}
	text, err := os.ReadFile(c.Daemon.BackingStore)
	if err == nil {
		_, _, err = awsnode.Parse(text, c.Network.VethPrefix)
	}
	if err != nil {
		log.Error("aws-node's book is younger than ours and cannot be used; keeping ours", "file", c.Daemon.BackingStore, "error", err)
		return nil
	}
	aside := book + ".old"
	if err = os.RemoveAll(aside); err == nil {
		err = os.Rename(book, aside)
	}
	if err != nil {
		return fmt.Errorf("putting our book aside, since aws-node's is younger: %w", err)
	}
	log.Info("aws-node had this node since we did: our book is put aside", "aside", aside, "last_change", ours.ModTime(), "theirs", theirs.ModTime())
	return nil
}

// takeOver holds the addresses of the pods that run here without a record of
// ours: first those that aws-node recorded, if the node comes from it, and then
// those that only the kernel knows.
func takeOver(c config.Config, store *checkpoint.Store, path *datapath.Datapath, log *slog.Logger) error {
	ours, err := store.Described()
	if err != nil {
		return err
	}
	if !ours {
		if err := importBook(c, path, log); err != nil {
			return err
		}
	}
	return path.AdoptPods()
}

// importBook imports aws-node's book. One that cannot be read costs no pod its
// network: what runs is adopted.
func importBook(c config.Config, path *datapath.Datapath, log *slog.Logger) error {
	file := c.Daemon.BackingStore
	text, err := os.ReadFile(file)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	var recorded []pool.Assignment
	var refused []*awsnode.Refused
	if err == nil {
		recorded, refused, err = awsnode.Parse(text, c.Network.VethPrefix)
	}
	if err != nil {
		log.Error("aws-node's book is not imported; pods that run are adopted as the kernel shows them", "file", file, "error", err)
		return nil
	}
	imported, known, err := path.ImportPods(recorded)
	if err != nil {
		return err
	}
	log.Info("imported aws-node's book", "file", file, "imported", imported, "known", len(known), "refused", len(refused))
	for _, a := range known {
		log.Info("not imported: the address or the container is in our book", "address", a.Address, "pod", a.Pod.Namespace+"/"+a.Pod.Name, "container", a.Key.ContainerID)
	}
	for _, r := range refused {
		log.Warn("not imported; if the pod runs, its address is adopted", "error", r)
	}
	return nil
}
