package raftstore

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"hash/crc64"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/hashicorp/raft"
)

// Names in the snapshot store of the library.
const (
	snapshotsDir      = "snapshots"
	snapshotMetaFile  = "meta.json"
	snapshotStateFile = "state.bin"
)

// snapshotFault is a snapshot file that cannot be loaded, and why.
type snapshotFault struct {
	path string
	err  error
}

// Error implements error. The sentinel is left out: who shows it says what it is.
func (f *snapshotFault) Error() string {
	return f.path + ": " + strings.TrimPrefix(f.err.Error(), ErrBadSnapshot.Error()+": ")
}

// Unwrap gives the cause to errors.Is.
func (f *snapshotFault) Unwrap() error { return f.err }

// explainStart adds to an error of the library, which only says that it could not
// load its snapshots, which file is bad and where. It reads them all once more, for
// a node that does not start anyway. refused is why the state machine refused one.
func explainStart(dataDir, clusterID string, refused, err error) error {
	fault := findFault(filepath.Join(dataDir, snapshotsDir), clusterID)
	switch {
	case fault != nil:
		return fmt.Errorf("%w (%w)", fault, err)
	case refused != nil:
		return fmt.Errorf("%w (%w)", refused, err)
	}
	return err
}

// findFault looks for the newest snapshot that cannot be loaded; nil if all can.
func findFault(dir, clusterID string) error {
	entries, err := os.ReadDir(dir)
	if err != nil {
		return nil // the library has said so, if it needed one
	}
	// Their names begin with term and index, of the library's own making.
	slices.Reverse(entries)
	for _, e := range entries {
		if !e.IsDir() || strings.HasSuffix(e.Name(), tmpSuffix) {
			continue
		}
		meta, state := filepath.Join(dir, e.Name(), snapshotMetaFile), filepath.Join(dir, e.Name(), snapshotStateFile)
		crc, err := readSnapshotMeta(meta)
		if err != nil {
			return &snapshotFault{meta, err}
		}
		if err := checkSnapshotFile(state, crc, clusterID); err != nil {
			return &snapshotFault{state, err}
		}
	}
	return nil
}

// readSnapshotMeta gives the library's checksum of a state file.
func readSnapshotMeta(path string) (crc []byte, err error) {
	raw, err := os.ReadFile(path)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrBadSnapshot, reasonOf(err))
	}
	var meta struct {
		raft.SnapshotMeta
		CRC []byte
	}
	if err := json.Unmarshal(raw, &meta); err != nil {
		return nil, fmt.Errorf("%w: %w", ErrBadSnapshot, err)
	}
	if meta.Version < raft.SnapshotVersionMin || meta.Version > raft.SnapshotVersionMax {
		return nil, fmt.Errorf("%w: version %d of the file, this build reads up to %d", ErrBadSnapshot, meta.Version, raft.SnapshotVersionMax)
	}
	return meta.CRC, nil
}

// checkSnapshotFile reads a state file to its end.
func checkSnapshotFile(path string, crc []byte, clusterID string) error {
	f, err := os.Open(path)
	if err != nil {
		return fmt.Errorf("%w: %w", ErrBadSnapshot, reasonOf(err))
	}
	defer f.Close()
	whole := crc64.New(crc64.MakeTable(crc64.ECMA))
	r, err := newSnapshotReader(io.TeeReader(f, whole))
	if err != nil {
		return err
	}
	if r.header.ClusterID != clusterID {
		return wrongSnapshot(r.header.ClusterID, clusterID)
	}
	if _, err := io.Copy(io.Discard, r); err != nil {
		return err
	}
	if !bytes.Equal(whole.Sum(nil), crc) {
		return fmt.Errorf("%w: it is whole, but not the file that %s beside it tells of", ErrBadSnapshot, snapshotMetaFile)
	}
	return nil
}

// wrongSnapshot is a whole snapshot that another cluster made.
func wrongSnapshot(of, own string) error {
	return fmt.Errorf("%w: snapshot of cluster %q, this node is of %q", ErrWrongCluster, of, own)
}

// reasonOf leaves the path out of an error of the file system.
func reasonOf(err error) error {
	var p *os.PathError
	if errors.As(err, &p) {
		return p.Err
	}
	return err
}
