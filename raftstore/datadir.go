package raftstore

import (
	"bufio"
	"crypto/rand"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"
)

// Names in a data directory.
const (
	lockFile     = "LOCK"
	formatFile   = "FORMAT"
	identityFile = "node.json"
	storeFile    = "raft.db"
)

// dataDirFormat is the layout this build writes, and the newest it reads.
const dataDirFormat = 1

// initialRecord is one member of the first configuration, once node ids are
// known.
type initialRecord struct {
	ID      string `json:"id"`
	Name    string `json:"name"`
	Address string `json:"address"`
}

// identityRecord is the content of node.json.
type identityRecord struct {
	// NodeID is random, made with the directory and never changed.
	NodeID string `json:"node_id"`
	// ClusterID is empty until the node belongs to a cluster.
	ClusterID string `json:"cluster_id,omitempty"`
	// Initial is what the log was or is to be bootstrapped with; empty for a
	// node that was added later.
	Initial []initialRecord `json:"initial,omitempty"`
	// StoreMade says that the log store was made. If it is missing later, votes
	// and acknowledged entries are lost, and the node must not come back under
	// this id.
	StoreMade bool `json:"store_made,omitempty"`
	// ClusterVersion is the highest cluster version that was applied here, if it
	// is above the first, so that a build that does not support it does not start.
	ClusterVersion uint32 `json:"cluster_version,omitempty"`
	// Admitted says that the log had a record of this node: it was wholly a member.
	Admitted bool `json:"admitted,omitempty"`
	// Removed says that a leader confirmed that this node is no member any more.
	Removed bool `json:"removed,omitempty"`
	// Seed is set in a directory that was made from a snapshot.
	Seed *seedRecord `json:"seed,omitempty"`
}

// dataDir is an open, locked data directory.
type dataDir struct {
	path string
	lock *os.File
}

// openDataDir makes the directory if it is missing, locks it and checks its
// format. Errors: ErrDataDirLocked, ErrDataDirFormat.
func openDataDir(path string) (*dataDir, error) {
	if info, err := os.Stat(path); err == nil && !info.IsDir() {
		return nil, fmt.Errorf("%w: %s is a file, not a directory: give another path", ErrDataDirFormat, path)
	}
	if err := os.MkdirAll(path, 0o700); err != nil {
		return nil, fmt.Errorf("raftstore: make data directory: %w", withRemedy(err))
	}
	lock, err := lockDir(path)
	if err != nil {
		return nil, err
	}
	d := &dataDir{path: path, lock: lock}
	if err := d.checkFormat(); err != nil {
		_ = d.close()
		return nil, err
	}
	return d, nil
}

// lockDir takes an exclusive lock that the kernel gives up when the process
// ends, however it ends.
func lockDir(path string) (*os.File, error) {
	f, err := os.OpenFile(filepath.Join(path, lockFile), os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		return nil, fmt.Errorf("raftstore: open lock file: %w", withRemedy(err))
	}
	err = unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB)
	if err == nil {
		return f, nil
	}
	_ = f.Close()
	if errors.Is(err, unix.EWOULDBLOCK) {
		return nil, fmt.Errorf("%w: %s: stop it, or give another directory", ErrDataDirLocked, path)
	}
	return nil, fmt.Errorf("raftstore: lock data directory %s: %w", path, err)
}

// checkFormat reads the format number, or writes it into a new directory.
func (d *dataDir) checkFormat() error {
	raw, err := os.ReadFile(d.file(formatFile))
	if errors.Is(err, fs.ErrNotExist) {
		return d.initFormat()
	}
	if err != nil {
		return fmt.Errorf("raftstore: read format: %w", err)
	}
	n, err := strconv.Atoi(strings.TrimSpace(string(raw)))
	if err != nil || n < 1 {
		return fmt.Errorf("%w: %s holds %q and not a number: give another directory, or put back a copy of this one", ErrDataDirFormat, d.file(formatFile), raw[:min(len(raw), 32)])
	}
	if n > dataDirFormat {
		return fmt.Errorf("%w: %s has format %d, this build reads up to %d: start a newer version", ErrDataDirFormat, d.path, n, dataDirFormat)
	}
	return nil
}

// initFormat claims a new directory. It refuses one that holds files of
// something else, which would be mixed with ours for ever.
func (d *dataDir) initFormat() error {
	entries, err := os.ReadDir(d.path)
	if err != nil {
		return fmt.Errorf("raftstore: read data directory: %w", err)
	}
	for _, e := range entries {
		if e.Name() != lockFile && e.Name() != formatFile+tmpSuffix {
			return fmt.Errorf("%w: %s has no file %s but is not empty (%s): give an empty directory", ErrDataDirFormat, d.path, formatFile, e.Name())
		}
	}
	return d.writeFile(formatFile, []byte(strconv.Itoa(dataDirFormat)+"\n"))
}

// loadIdentity reads node.json, or makes a new identity in a new directory.
func (d *dataDir) loadIdentity() (identityRecord, error) {
	var rec identityRecord
	raw, err := os.ReadFile(d.file(identityFile))
	if errors.Is(err, fs.ErrNotExist) {
		return d.newIdentity()
	}
	if err != nil {
		return rec, fmt.Errorf("raftstore: read identity: %w", err)
	}
	if err := json.Unmarshal(raw, &rec); err != nil {
		return rec, damaged(fmt.Errorf("read %s: %w", d.file(identityFile), err))
	}
	if rec.NodeID == "" {
		return rec, damaged(fmt.Errorf("%s names no node", d.file(identityFile)))
	}
	return rec, nil
}

func (d *dataDir) newIdentity() (identityRecord, error) {
	// A log without its identity must not get a new one: it would vote twice.
	if _, err := os.Stat(d.file(storeFile)); err == nil {
		return identityRecord{}, damaged(fmt.Errorf("%s is there but %s is missing", d.file(storeFile), identityFile))
	}
	id := make([]byte, 16)
	if _, err := rand.Read(id); err != nil {
		return identityRecord{}, fmt.Errorf("raftstore: make node id: %w", err)
	}
	rec := identityRecord{NodeID: hex.EncodeToString(id)}
	return rec, d.saveIdentity(rec)
}

func (d *dataDir) saveIdentity(rec identityRecord) error {
	raw, err := json.MarshalIndent(rec, "", "  ")
	if err != nil {
		return fmt.Errorf("raftstore: encode identity: %w", err)
	}
	return d.writeFile(identityFile, append(raw, '\n'))
}

func (d *dataDir) file(name string) string { return filepath.Join(d.path, name) }

// tmpSuffix marks a file that is not complete yet.
const tmpSuffix = ".tmp"

// writeFile replaces a file so that a crash leaves the old or the new content.
func (d *dataDir) writeFile(name string, data []byte) error {
	tmp := d.file(name) + tmpSuffix
	if err := writeSynced(tmp, data); err != nil {
		return fmt.Errorf("raftstore: write: %w", withRemedy(err))
	}
	return d.replace(tmp, name)
}

// replace puts a complete file in its place.
func (d *dataDir) replace(tmp, name string) error {
	if err := os.Rename(tmp, d.file(name)); err != nil {
		return fmt.Errorf("raftstore: write %s: %w", name, err)
	}
	dir, err := os.Open(d.path)
	if err != nil {
		return fmt.Errorf("raftstore: sync %s: %w", d.path, err)
	}
	defer dir.Close()
	if err := dir.Sync(); err != nil {
		return fmt.Errorf("raftstore: sync %s: %w", d.path, err)
	}
	return nil
}

// streamFile is writeFile for what does not fit the memory twice.
func (d *dataDir) streamFile(name string, write func(io.Writer) error) error {
	tmp := d.file(name) + tmpSuffix
	f, err := os.OpenFile(tmp, os.O_CREATE|os.O_WRONLY|os.O_TRUNC, 0o600)
	if err != nil {
		return fmt.Errorf("raftstore: write %s: %w", tmp, err)
	}
	buf := bufio.NewWriterSize(f, 1<<20)
	err = write(buf)
	if err := errors.Join(err, buf.Flush(), f.Sync(), f.Close()); err != nil {
		return fmt.Errorf("raftstore: write %s: %w", tmp, err)
	}
	return d.replace(tmp, name)
}

func writeSynced(path string, data []byte) error {
	f, err := os.OpenFile(path, os.O_CREATE|os.O_WRONLY|os.O_TRUNC, 0o600)
	if err != nil {
		return err
	}
	_, err = f.Write(data)
	return errors.Join(err, f.Sync(), f.Close())
}

// close gives the lock up.
func (d *dataDir) close() error { return d.lock.Close() }
