package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"time"

	"github.com/causeway-cni/causeway/config"
)

// offer puts the CNI configuration in place, in that of aws-node; then runtimes
// send pods. It says whether it was not there.
func offer(dir string) (bool, error) {
	path := filepath.Join(dir, config.ConflistName)
	if text, err := os.ReadFile(path); err == nil && string(text) == config.Conflist {
		return false, nil
	}
	if err := replaceFile(path, []byte(config.Conflist), 0o644, time.Time{}); err != nil {
		return false, fmt.Errorf("offering the node to pods: %w", err)
	}
	return true, nil
}

// retract removes a CNI configuration of ours, of this version or another, and
// says whether there was one.
func retract(dir string) (bool, error) {
	path := filepath.Join(dir, config.ConflistName)
	text, err := os.ReadFile(path)
	if errors.Is(err, fs.ErrNotExist) || err == nil && !ourConflist(text) {
		return false, nil
	}
	if err == nil {
		err = os.Remove(path)
	}
	if err == nil {
		err = syncDir(dir)
	}
	if err != nil {
		return false, fmt.Errorf("removing the CNI configuration: %w", err)
	}
	return true, nil
}

// ourConflist says whether a CNI configuration calls our plugin.
func ourConflist(text []byte) bool {
	type plugin struct{ Type string }
	var list struct{ Plugins []plugin }
	err := json.Unmarshal(text, &list)
	return err == nil && slices.Contains(list.Plugins, plugin{config.Plugin})
}

// retractAfterBoot removes the configuration that an earlier boot left: it
// would have runtimes send pods before there are addresses. A restart of the
// daemon alone leaves it, as STATUS says more.
func retractAfterBoot(dir, book string, log *slog.Logger) error {
	if _, err := os.Stat(book); dir == "" || !errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	removed, err := retract(dir)
	if removed {
		log.Info("CNI configuration removed until this node can serve", "dir", dir)
	}
	return err
}
