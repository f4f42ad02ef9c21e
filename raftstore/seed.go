package raftstore

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"

	"github.com/hashicorp/raft"
)

// seedFile is the state that a directory made from a snapshot begins with. It is
// there until Raft has a snapshot of its own.
const seedFile = "seed.snap"

// refoundStep is added to the index of a snapshot from which a cluster is made
// anew. The lost cluster went on after the snapshot and gave out tokens, which
// are indexes of its log; none of them may be given out again (invariant 1). At
// 10,000 entries a second it lasts three years.
const refoundStep = 1 << 40

// seedRecord says what seedFile is. All first members of a cluster must have the
// same one.
type seedRecord struct {
	// ClusterID, SnapshotIndex and Sum are of the snapshot that it was made from.
	ClusterID     string `json:"cluster_id"`
	SnapshotIndex uint64 `json:"snapshot_index"`
	Sum           uint32 `json:"sum"`
	// Index and Term are where the log of the new cluster begins.
	Index uint64 `json:"index"`
	Term  uint64 `json:"term"`
}

// mark adds the seed to a list of first members, which all of them compare: so a
// node with another snapshot, or none, is found out before there is a cluster.
func (s *seedRecord) mark(list string) string {
	if s == nil {
		return list
	}
	return fmt.Sprintf("%s restored from index %d of cluster %s, sum %08x", list, s.SnapshotIndex, s.ClusterID, s.Sum)
}

// Refound makes a new data directory for a member of a new cluster that begins
// with the state of a snapshot. The first start of the node, alone or with the
// list of first members as always, makes the cluster; each of its first members
// needs a directory made from the same snapshot.
//
// # Errors
//
// ErrBadSnapshot, ErrDirNotEmpty.
func Refound(in io.Reader, dataDir string) (info SnapshotInfo, err error) {
	if err := mustBeEmpty(dataDir); err != nil {
		return SnapshotInfo{}, err
	}
	info, f, err := decodeSnapshot(in)
	if err != nil {
		return info, err
	}
	dir, err := openDataDir(dataDir)
	if err != nil {
		return info, err
	}
	defer func() { err = errors.Join(err, dir.close()) }()
	seed := &seedRecord{
		ClusterID: info.ClusterID, SnapshotIndex: info.Index, Sum: info.Sum,
		Index: info.Index + refoundStep, Term: info.Term + 1,
	}
	if err := f.writeSeed(dir, seed); err != nil {
		return info, fmt.Errorf("raftstore: write the state of the new cluster: %w", err)
	}
	// Last: without it nothing here is taken for a member.
	rec, err := dir.newIdentity()
	if err != nil {
		return info, err
	}
	rec.Seed = seed
	return info, dir.saveIdentity(rec)
}

// mustBeEmpty refuses a directory that holds anything.
func mustBeEmpty(path string) error {
	entries, err := os.ReadDir(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("raftstore: read data directory: %w", err)
	}
	if len(entries) > 0 {
		return fmt.Errorf("%w: %s holds %s: give a new directory; a snapshot never replaces what is there", ErrDirNotEmpty, path, entries[0].Name())
	}
	return nil
}

// writeSeed makes the state that of a new cluster and writes it.
func (f *fsm) writeSeed(dir *dataDir, seed *seedRecord) error {
	f.mu.Lock()
	f.machine.Refound(seed.Index)
	f.lastIndex = seed.Index
	view := f.capture()
	broken := f.keyed.broken
	f.mu.Unlock()
	defer view.Release()
	if broken != nil {
		return broken
	}
	return dir.streamFile(seedFile, func(out io.Writer) error {
		w, err := newSnapshotWriter(out, snapshotHeader{Index: seed.Index, Term: seed.Term})
		if err == nil {
			err = view.Write(w)
		}
		if err == nil {
			err = w.finish()
		}
		return err
	})
}

// plant makes the seed the first snapshot of a cluster, with the first members as
// its configuration. All of them do the same, so they begin as if each had been
// sent that snapshot. A crash in between is healed by doing it again.
func (n *Node) plant(seed *seedRecord, c raft.Configuration, snaps raft.SnapshotStore) error {
	list, err := snaps.List()
	if err != nil {
		return fmt.Errorf("list snapshots: %w", err)
	}
	last, err := n.store.LastIndex()
	if err != nil {
		return err
	}
	if len(list) > 0 || last > 0 {
		if err := os.Remove(n.dir.file(seedFile)); err != nil && !errors.Is(err, fs.ErrNotExist) {
			n.logger.Warn("the snapshot that this cluster began with is left over", "err", err)
		}
		return nil
	}
	in, err := os.Open(n.dir.file(seedFile))
	if err != nil {
		return badSeed(n.dir.file(seedFile), reasonOf(err))
	}
	defer in.Close()
	r, err := newSnapshotReader(in)
	if err == nil && (r.header.Index != seed.Index || r.header.Term != seed.Term) {
		err = fmt.Errorf("it is of index %d, %s says %d", r.header.Index, identityFile, seed.Index)
	}
	if err != nil {
		return badSeed(n.dir.file(seedFile), err)
	}
	// The library reads its term here; an entry must not be older than the snapshot.
	if err := n.store.SetUint64([]byte("CurrentTerm"), seed.Term); err != nil {
		return fmt.Errorf("set the term: %w", err)
	}
	sink, err := snaps.Create(raft.SnapshotVersionMax, seed.Index, seed.Term, c, 1, n.transport)
	if err != nil {
		return fmt.Errorf("make the first snapshot: %w", err)
	}
	if err := n.copySeed(sink, r, seed); err != nil {
		if errors.Is(err, ErrBadSnapshot) {
			err = badSeed(n.dir.file(seedFile), err)
		} else {
			err = fmt.Errorf("write the first snapshot: %w", err)
		}
		return errors.Join(err, sink.Cancel())
	}
	return sink.Close()
}

// copySeed gives the state the header of this cluster.
func (n *Node) copySeed(out io.Writer, r *snapshotReader, seed *seedRecord) error {
	w, err := newSnapshotWriter(out, snapshotHeader{ClusterID: n.ClusterID(), Index: seed.Index, Term: seed.Term})
	if err != nil {
		return err
	}
	if _, err := io.Copy(w, r); err != nil {
		return err
	}
	if err := r.verified(); err != nil {
		return err
	}
	return w.finish()
}

// badSeed is a seedFile that cannot be read, with the remedy: nothing is lost with
// it, since it was made from a file that is still there.
func badSeed(path string, found error) error {
	return fmt.Errorf("%w: %w: empty the directory and make it anew with `holdfast snapshot restore`", ErrDataDirCorrupt, &snapshotFault{path, found})
}
