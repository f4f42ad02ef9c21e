package raftstore

import (
	"errors"
	"fmt"
	"io"
	"log/slog"
	"sync/atomic"
	"time"

	"github.com/hashicorp/raft"

	"github.com/holdfast-io/holdfast/coordinator"
)

// maxRepeatedInstalls is how often one snapshot may be installed with nothing
// applied in between (hashicorp/raft issue 697).
const maxRepeatedInstalls = 3

// shell is what Raft sees of the state machine. It checks envelopes and
// snapshots, keeps the applied index, and stops the node when going on would
// make this copy differ from the others. Raft calls it from one goroutine.
type shell struct {
	sm        StateMachine
	clusterID func() string
	logger    *slog.Logger
	exit      func(reason string)
	applied   appliedIndex
	metrics   *metrics
	halted    atomic.Bool
	// saveVersion puts the cluster version on disk; version is what it was called
	// with last. unsupported is why a snapshot of another version was refused;
	// refused is why the newest one was, whatever the reason.
	saveVersion func(v uint32) error
	version     uint32
	unsupported error
	refused     error

	// running is set when Raft is up: restores before it come from this node's
	// own disk and are not installs.
	running  atomic.Bool
	installs struct {
		index uint64
		count int
	}
}

var (
	_ raft.BatchingFSM = (*shell)(nil)
	_ raft.FSMSnapshot = (*shellSnapshot)(nil)
)

// haltedResult stands for the result of an entry that was committed but not
// applied here.
type haltedResult struct{}

// halt freezes the state and calls Exit. Nothing is applied afterwards, even if
// Exit returns.
func (s *shell) halt(reason string) {
	if s.halted.CompareAndSwap(false, true) {
		s.exit(reason)
	}
}

// Apply implements raft.FSM.
func (s *shell) Apply(l *raft.Log) any { return s.ApplyBatch([]*raft.Log{l})[0] }

// ApplyBatch implements raft.BatchingFSM. Besides commands Raft hands over
// configuration changes, which only move the index.
func (s *shell) ApplyBatch(logs []*raft.Log) []any {
	results := make([]any, len(logs))
	err := s.applyAll(logs, results)
	if err == nil {
		err = s.noteVersion()
	}
	if err != nil {
		s.halt(err.Error())
	}
	if s.halted.Load() {
		for i := range results {
			results[i] = haltedResult{}
		}
		return results
	}
	last := logs[len(logs)-1]
	s.applied.set(last.Index, last.Term)
	s.installs.count = 0
	return results
}

// noteVersion puts a cluster version that was just applied on disk, before the
// applied index and any result tell of it.
func (s *shell) noteVersion() error {
	m, ok := s.sm.(Versioned)
	if !ok || s.halted.Load() {
		return nil
	}
	v := m.ClusterVersion()
	if v == max(s.version, coordinator.FirstVersion) {
		return nil
	}
	if err := s.saveVersion(v); err != nil {
		return fmt.Errorf("save cluster version %d: %w", v, err)
	}
	s.version = v
	return nil
}

func (s *shell) applyAll(logs []*raft.Log, results []any) error {
	if s.halted.Load() || len(logs) == 0 {
		return nil
	}
	if applied, _ := s.applied.get(); logs[0].Index <= applied {
		return fmt.Errorf("entry %d comes after %d was applied", logs[0].Index, applied)
	}
	entries := make([]Entry, 0, len(logs))
	places := make([]int, 0, len(logs))
	for i, l := range logs {
		if l.Type != raft.LogCommand {
			continue
		}
		cmdType, payload, err := decodeEnvelope(l.Data)
		if err != nil {
			return fmt.Errorf("entry %d of term %d: %w", l.Index, l.Term, err)
		}
		entries = append(entries, Entry{Index: l.Index, Term: l.Term, Type: cmdType, Payload: payload})
		places = append(places, i)
	}
	if len(entries) == 0 {
		return nil
	}
	out, err := s.sm.ApplyBatch(entries)
	if err != nil {
		return fmt.Errorf("state machine refuses a batch from entry %d to %d: %w", entries[0].Index, entries[len(entries)-1].Index, err)
	}
	if len(out) != len(entries) {
		return fmt.Errorf("state machine gave %d results for %d entries from %d", len(out), len(entries), entries[0].Index)
	}
	for i, place := range places {
		results[place] = out[i]
	}
	return nil
}

// Snapshot implements raft.FSM.
func (s *shell) Snapshot() (raft.FSMSnapshot, error) {
	if s.halted.Load() {
		return nil, ErrHalted
	}
	view, err := s.sm.Snapshot()
	if err != nil {
		return nil, fmt.Errorf("raftstore: capture state: %w", err)
	}
	index, term := s.applied.get()
	return &shellSnapshot{view: view, metrics: s.metrics, header: snapshotHeader{ClusterID: s.clusterID(), Index: index, Term: term}}, nil
}

// Restore implements raft.FSM.
func (s *shell) Restore(rc io.ReadCloser) error {
	if s.halted.Load() {
		return ErrHalted
	}
	h, err := s.restore(rc)
	if err != nil {
		s.refused = err
		s.logger.Error("snapshot refused, the state stays as it was", "err", err)
		return err
	}
	s.countInstall(h.Index)
	return nil
}

func (s *shell) restore(in io.Reader) (snapshotHeader, error) {
	r, err := newSnapshotReader(in)
	if err != nil {
		return snapshotHeader{}, err
	}
	if own := s.clusterID(); r.header.ClusterID != own {
		return snapshotHeader{}, wrongSnapshot(r.header.ClusterID, own)
	}
	if err := s.sm.Restore(r); err != nil {
		if errors.Is(err, ErrClusterVersion) {
			s.unsupported = fmt.Errorf("raftstore: load the snapshot of index %d: %w", r.header.Index, err)
		}
		return snapshotHeader{}, fmt.Errorf("raftstore: restore snapshot of index %d: %w", r.header.Index, err)
	}
	if err := r.verified(); err != nil {
		// The new state is in place, but it is not that of the snapshot.
		s.halt(fmt.Sprintf("state machine took over a snapshot of index %d that is not good: %v", r.header.Index, err))
		return snapshotHeader{}, err
	}
	if err := s.noteVersion(); err != nil {
		s.halt(err.Error())
		return snapshotHeader{}, err
	}
	s.applied.set(r.header.Index, r.header.Term)
	return r.header, nil
}

// countInstall ends the node when a leader sends it the same snapshot again and
// again, because the entries after it are refused each time. A restart helps if
// the log on disk is good; otherwise the node must come back as a new member.
func (s *shell) countInstall(index uint64) {
	if !s.running.Load() {
		return
	}
	s.metrics.snapshotInstalls.Inc()
	if s.installs.index != index {
		s.installs.index, s.installs.count = index, 0
	}
	s.installs.count++
	if s.installs.count >= maxRepeatedInstalls {
		s.halt(fmt.Sprintf("snapshot of index %d was installed %d times and nothing could be applied after it: "+
			"restart the node; if this comes again, remove the member, empty its data directory and add it as a new member", index, s.installs.count))
	}
}

// shellSnapshot is a view on its way into a file.
type shellSnapshot struct {
	view    View
	header  snapshotHeader
	metrics *metrics
}

// Persist implements raft.FSMSnapshot. Raft closes or cancels the sink.
func (s *shellSnapshot) Persist(sink raft.SnapshotSink) error {
	start := time.Now()
	w, err := newSnapshotWriter(sink, s.header)
	if err == nil {
		err = s.view.Write(w)
	}
	if err == nil {
		err = w.finish()
	}
	s.metrics.snapshot(start, w, err)
	if err != nil {
		return fmt.Errorf("raftstore: write snapshot of index %d: %w", s.header.Index, err)
	}
	return nil
}

// Release implements raft.FSMSnapshot.
func (s *shellSnapshot) Release() { s.view.Release() }
