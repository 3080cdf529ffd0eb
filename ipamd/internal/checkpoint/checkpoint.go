// Package checkpoint keeps the book of assignments on disk: one small JSON
// file for each address that is assigned or cooling down, named by it, so that
// an operation costs the same however many pods there are, and `ls` and `cat`
// show the book. The second address of a dual-stack pod is in the file of the
// first; what a file of its own says of it, from before, counts for nothing then.
//
// Beside them enis.json keeps what EC2 said last of the node's ENIs, so that a
// daemon that starts anew can serve before EC2 answers.
//
// A file is whole or not there: it is written aside and renamed. The directory
// lies on a tmpfs, which lives exactly as long as the pods do, so nothing is
// synced. A file that cannot be read is set aside and reported; it never keeps
// the daemon from starting.
package checkpoint

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/causeway-cni/causeway/ipamd/internal/pool"
)

// Record is the state of one address: held by an assignment, or cooling down.
type Record struct {
	Assignment *pool.Assignment // nil if cooling
	Address    netip.Addr
	Until      time.Time // of the cool-down
}

// file is a Record as it is on disk.
type file struct {
	State     string     `json:"state"` // "assigned" or "cooling"
	Network   string     `json:"network,omitempty"`
	Container string     `json:"containerID,omitempty"`
	Interface string     `json:"interface,omitempty"`
	Namespace string     `json:"namespace,omitempty"`
	Pod       string     `json:"pod,omitempty"`
	UID       string     `json:"uid,omitempty"`
	Netns     string     `json:"netns,omitempty"`
	Link      string     `json:"link,omitempty"`
	MTU       int        `json:"mtu,omitempty"`
	Second    string     `json:"second,omitempty"` // the IPv6 address beside the one that names the file
	ENI       string     `json:"eni,omitempty"`
	Device    int        `json:"device,omitempty"`
	Adopted   bool       `json:"adopted,omitempty"`
	Since     *time.Time `json:"since,omitempty"`
	Until     *time.Time `json:"until,omitempty"`
	Ports     []portFile `json:"hostPorts,omitempty"`
}

const (
	stateAssigned = "assigned"
	stateCooling  = "cooling"
	temporary     = ".new-"
	damaged       = ".damaged"
	enisFile      = "enis.json"
)

// Store is the directory of the book.
type Store struct{ dir string }

// Open makes the directory if need be and clears what a crash left half
// written.
func Open(dir string) (*Store, error) {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, fmt.Errorf("opening the book: %w", err)
	}
	left, err := filepath.Glob(filepath.Join(dir, temporary+"*"))
	if err != nil {
		return nil, fmt.Errorf("opening the book: %w", err)
	}
	for _, path := range left {
		if err := os.Remove(path); err != nil {
			return nil, fmt.Errorf("opening the book: %w", err)
		}
	}
	return &Store{dir: dir}, nil
}

// Assign records that an address is held.
func (s *Store) Assign(a pool.Assignment) error {
	second := ""
	if a.Second.IsValid() {
		second = a.Second.String()
	}
	return s.write(a.Address, file{
		State: stateAssigned, Network: a.Key.Network, Container: a.Key.ContainerID, Interface: a.Key.Interface,
		Namespace: a.Pod.Namespace, Pod: a.Pod.Name, UID: a.Pod.UID, Netns: a.Netns, Link: a.Link, MTU: a.MTU,
		Second: second, ENI: string(a.ENI), Device: a.Device, Adopted: a.Adopted, Since: &a.Since,
		Ports: portFiles(a.Ports),
	})
}

// Cool records that an address was released and may be handed out again at
// until.
func (s *Store) Cool(address netip.Addr, until time.Time) error {
	return s.write(address, file{State: stateCooling, Until: &until})
}

// Forget removes what is recorded of an address.
func (s *Store) Forget(address netip.Addr) error {
	if err := os.Remove(s.path(address)); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("forgetting address %s: %w", address, err)
	}
	return nil
}

// KeepENIs records the node's ENIs.
func (s *Store) KeepENIs(enis []pool.ENI) error {
	text, err := json.MarshalIndent(enis, "", "  ")
	if err == nil {
		err = s.replace(enisFile, text)
	}
	if err != nil {
		return fmt.Errorf("keeping the ENIs: %w", err)
	}
	return nil
}

// ENIs returns what KeepENIs recorded, or nothing if it never did.
func (s *Store) ENIs() ([]pool.ENI, error) {
	text, err := os.ReadFile(filepath.Join(s.dir, enisFile))
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	var enis []pool.ENI
	if err == nil {
		err = json.Unmarshal(text, &enis)
	}
	if err != nil {
		return nil, fmt.Errorf("reading the ENIs that were kept: %w", err)
	}
	return enis, nil
}

func (s *Store) path(a netip.Addr) string { return filepath.Join(s.dir, a.String()) }

func (s *Store) write(a netip.Addr, f file) error {
	text, err := json.Marshal(f)
	if err == nil {
		err = s.replace(a.String(), text)
	}
	if err != nil {
		return fmt.Errorf("recording address %s: %w", a, err)
	}
	return nil
}

// replace writes a file aside and renames it.
func (s *Store) replace(name string, text []byte) error {
	fresh := filepath.Join(s.dir, temporary+name)
	err := os.WriteFile(fresh, append(text, '\n'), 0o600)
	if err == nil {
		err = os.Rename(fresh, filepath.Join(s.dir, name))
	}
	if err != nil {
		os.Remove(fresh)
	}
	return err
}

// Described says whether the node's ENIs were ever kept, as they are when EC2
// first described them: until then the node may just have come to us.
func (s *Store) Described() (bool, error) {
	_, err := os.Stat(filepath.Join(s.dir, enisFile))
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return false, fmt.Errorf("looking for the ENIs that were kept: %w", err)
	}
	return err == nil, nil
}

// Load reads the book. An address whose file is damaged is returned as one
// that cools from now on, and as part of the second result; the file is kept
// beside under another name.
func (s *Store) Load() (records []Record, unreadable []error, err error) {
	return s.each(func(name string) error {
		path := filepath.Join(s.dir, name)
		return os.Rename(path, path+damaged)
	})
}

// Read reads the book in a directory and changes nothing, also while a daemon
// writes there. Each record is as it was at some moment of the reading. A
// directory that is not there is fs.ErrNotExist.
func Read(dir string) (records []Record, unreadable []error, err error) {
	s := &Store{dir: dir}
	return s.each(func(string) error { return nil })
}

// each reads all records. bad is told of the files that are damaged.
func (s *Store) each(bad func(name string) error) (records []Record, unreadable []error, err error) {
	entries, err := os.ReadDir(s.dir)
	if err != nil {
		return nil, nil, fmt.Errorf("reading the book: %w", err)
	}
	for _, e := range entries {
		if name := e.Name(); strings.HasSuffix(name, damaged) || strings.HasPrefix(name, temporary) || name == enisFile {
			continue
		}
		r, err := s.read(e.Name())
		if errors.Is(err, fs.ErrNotExist) {
			continue // forgotten meanwhile
		}
		if err != nil {
			unreadable = append(unreadable, errors.Join(err, bad(e.Name())))
		}
		if r.Address.IsValid() {
			records = append(records, r)
		}
	}
	return records, unreadable, nil
}

func (s *Store) read(name string) (Record, error) {
	path := filepath.Join(s.dir, name)
	address, err := netip.ParseAddr(name)
	if err != nil {
		return Record{}, fmt.Errorf("book entry %s: its name should be an address: %w", path, err)
	}
	text, err := os.ReadFile(path)
	if err != nil {
		return Record{Address: address}, fmt.Errorf("book entry %s: %w", path, err)
	}
	return parse(address, text, path)
}

func parse(address netip.Addr, text []byte, path string) (Record, error) {
	r := Record{Address: address}
	var f file
	if err := json.Unmarshal(text, &f); err != nil {
		return r, fmt.Errorf("book entry %s: %w", path, err)
	}
	switch {
	case f.State == stateCooling && f.Until != nil:
		r.Until = *f.Until
	case f.State == stateAssigned && f.Container != "" && f.Interface != "" && f.Since != nil:
		ports, err := hostPorts(f.Ports)
		if err != nil {
			return r, fmt.Errorf("book entry %s: %w", path, err)
		}
		var second netip.Addr
		if f.Second != "" {
			if second, err = netip.ParseAddr(f.Second); err != nil {
				return r, fmt.Errorf("book entry %s: second: %w", path, err)
			}
		}
		r.Assignment = &pool.Assignment{
			Key: pool.Key{Network: f.Network, ContainerID: f.Container, Interface: f.Interface},
			Pod: pool.Pod{Namespace: f.Namespace, Name: f.Pod, UID: f.UID}, Netns: f.Netns, Link: f.Link, MTU: f.MTU,
			Address: address, Second: second, ENI: pool.ENIID(f.ENI), Device: f.Device, Since: *f.Since, Ports: ports, Adopted: f.Adopted,
		}
	default:
		return r, fmt.Errorf("book entry %s: state %q needs its fields: \"cooling\" until, \"assigned\" containerID, interface and since", path, f.State)
	}
	return r, nil
}
