package main

import (
	"errors"
	"io/fs"
	"log/slog"
	"os"

	"github.com/causeway-cni/causeway/config"
	"github.com/causeway-cni/causeway/ipamd/internal/awsnode"
	"github.com/causeway-cni/causeway/ipamd/internal/checkpoint"
	"github.com/causeway-cni/causeway/ipamd/internal/datapath"
	"github.com/causeway-cni/causeway/ipamd/internal/pool"
)

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
