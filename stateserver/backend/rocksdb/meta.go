package rocksdb

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"regexp"

	"github.com/holdfast-io/holdfast/raftstore/keyed"
	"github.com/holdfast-io/holdfast/stateserver/backend"
)

// Format is what handles of this backend have as their format.
const Format = "rocksdb"

// metaName is the part of a snapshot beside its tables: Pebble's small files, which
// no two checkpoints share, in one, and whose entries they are.
const metaName = "META"

// metaVersion is the layout of keys, values and metaName.
const metaVersion = 1

// meta is the content of metaName, in JSON.
type meta struct {
	Version int               `json:"version"`
	Space   keyed.SpaceConfig `json:"space"`
	Files   map[string][]byte `json:"files"`
}

// packMeta replaces the small files of a checkpoint by one. Logs are left out:
// Pebble makes one even where it writes none.
func packMeta(dir string, cfg *keyed.SpaceConfig) error {
	entries, err := os.ReadDir(dir)
	if err != nil {
		return err
	}
	m := meta{Version: metaVersion, Space: *cfg, Files: map[string][]byte{}}
	for _, e := range entries {
		name := e.Name()
		if tableRE.MatchString(name) {
			continue
		}
		path := filepath.Join(dir, name)
		switch {
		case smallRE.MatchString(name):
			if m.Files[name], err = os.ReadFile(path); err != nil {
				return err
			}
		case filepath.Ext(name) != ".log":
			return fmt.Errorf("unknown file %s in a checkpoint of Pebble's", name)
		}
		if err := os.Remove(path); err != nil {
			return err
		}
	}
	b, err := json.Marshal(m)
	if err != nil {
		return err
	}
	return os.WriteFile(filepath.Join(dir, metaName), b, 0o600)
}

// unpackMeta writes the small files of a snapshot beside its tables and returns its
// configuration.
func unpackMeta(dir string) (*keyed.SpaceConfig, error) {
	path := filepath.Join(dir, metaName)
	b, err := os.ReadFile(path)
	if errors.Is(err, os.ErrNotExist) {
		return nil, fmt.Errorf("%w: it has no part %s", backend.ErrDamaged, metaName)
	}
	if err != nil {
		return nil, err
	}
	var m meta
	if err := json.Unmarshal(b, &m); err != nil {
		return nil, fmt.Errorf("%w: %s: %w", backend.ErrDamaged, metaName, err)
	}
	if m.Version != metaVersion {
		return nil, fmt.Errorf("%w: %s has version %d, this node reads %d", backend.ErrDamaged, metaName, m.Version, metaVersion)
	}
	cfg, err := m.Space.Normalize()
	if err != nil {
		return nil, fmt.Errorf("%w: %s: %w", backend.ErrDamaged, metaName, err)
	}
	for name, content := range m.Files {
		if !smallRE.MatchString(name) {
			return nil, fmt.Errorf("%w: %s has a file %q", backend.ErrDamaged, metaName, name)
		}
		if err := os.WriteFile(filepath.Join(dir, name), content, 0o600); err != nil {
			return nil, err
		}
	}
	return &cfg, os.Remove(path)
}

// sameSpace checks that a snapshot fits the state that is to be restored from it:
// the same key groups, and for states that both have the same description. States of
// the snapshot that the job no longer declares are an error of the caller.
func sameSpace(have, want *keyed.SpaceConfig) error {
	if have.Start != want.Start || have.End != want.End || have.NumGroups != want.NumGroups || have.CoPartitioned != want.CoPartitioned {
		return fmt.Errorf("the snapshot has key groups [%d, %d) of %d, the subtask [%d, %d) of %d",
			have.Start, have.End, have.NumGroups, want.Start, want.End, want.NumGroups)
	}
	for i := range have.States {
		a := have.States[i]
		j, err := want.StateIndex(a.ID)
		if err != nil {
			return fmt.Errorf("the snapshot has a state that the subtask has not: %w", err)
		}
		b := want.States[j]
		if a.Kind != b.Kind || a.Type != b.Type || (a.TTLMs > 0) != (b.TTLMs > 0) {
			return fmt.Errorf("state %d: the snapshot has kind %d, type %d, a TTL of %d ms, the subtask %d, %d, %d ms",
				a.ID, a.Kind, a.Type, a.TTLMs, b.Kind, b.Type, b.TTLMs)
		}
	}
	return nil
}

var (
	// tableRE are the files of a tree that never change, and that checkpoints share.
	tableRE = regexp.MustCompile(`^[0-9]{6,20}\.sst$`)
	// smallRE are the other files that a tree needs.
	smallRE = regexp.MustCompile(`^(MANIFEST-[0-9]+|OPTIONS-[0-9]+|CURRENT|marker\.[a-z-]+\.[0-9]+\.[A-Za-z0-9-]+)$`)
)
