package bench

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/holdfast-io/holdfast/cmd/holdfast/internal/bug"
	holdfastv1 "github.com/holdfast-io/holdfast/proto/holdfast/v1"
	"github.com/holdfast-io/holdfast/stateserver/backend"
)

// CutsConfig says how much state to take checkpoints of, and how often.
type CutsConfig struct {
	Keys int
	// Dirty is how many keys change between two checkpoints.
	Dirty int
	// Checkpoints of each backend, by its name.
	Checkpoints map[string]int
	// Restores of the last checkpoint.
	Restores int
	// CacheBytes is what rocksdb takes, and Pebble beside it.
	CacheBytes int64
}

// CutsReport is what checkpoints of a state cost under full load: the owner of the
// state reads and writes batches all the time, also while a snapshot is written.
type CutsReport struct {
	Machine Machine  `json:"machine"`
	Keys    int      `json:"keys"`
	Dirty   int      `json:"dirty_keys"`
	Rows    []CutRow `json:"rows"`
}

// CutRow is one backend.
type CutRow struct {
	Name string `json:"name"`
	// Pause is how long a cut holds up the stream: the barrier. The distribution is
	// of microseconds, not of milliseconds as elsewhere.
	Checkpoints int         `json:"checkpoints"`
	Pause       Microscopic `json:"pause"`
	// Batch is how long a batch took, read and written, beside the writing.
	Batch Microscopic `json:"batch"`
	// WrittenToDirty is the bytes of all checkpoints by those of the keys and values
	// that changed. EachToDirty is that of one: a backend writes a full file, or
	// compacts, now and then.
	WrittenToDirty float64 `json:"written_to_dirty_bytes"`
	EachToDirty    Spread  `json:"each_written_to_dirty_bytes"`
	// WrittenToPebble is the bytes of all checkpoints by those of the tables that
	// Pebble, embedded, wrote anew for the same changes; of rocksdb.
	WrittenToPebble float64 `json:"written_to_pebble_bytes,omitempty"`
	// FullBytes is what one checkpoint of everything takes.
	FullBytes uint64 `json:"full_bytes"`
	// RestorePerSecond is keys a second, RestorePerCoreSecond by processor time.
	RestorePerSecond     Spread `json:"restored_keys_per_second"`
	RestorePerCoreSecond Spread `json:"restored_keys_per_core_second"`
}

// Microscopic tells how long things took, in microseconds.
type Microscopic struct {
	Count int     `json:"count"`
	P50   float64 `json:"p50_us"`
	P99   float64 `json:"p99_us"`
	Max   float64 `json:"max_us"`
}

func microscopic(d []time.Duration) Microscopic {
	us := make([]float64, 0, len(d))
	for _, x := range d {
		us = append(us, float64(x.Nanoseconds())/1000)
	}
	slices.Sort(us)
	if len(us) == 0 {
		return Microscopic{}
	}
	return Microscopic{Count: len(us), P50: quantile(us, 0.5), P99: quantile(us, 0.99), Max: us[len(us)-1]}
}

// Cuts takes checkpoints of each backend in this process: what a host does with the
// state of one subtask.
func Cuts(ctx context.Context, cfg Config, f CutsConfig) (r *CutsReport, err error) {
	r = &CutsReport{Machine: ThisMachine(), Keys: f.Keys, Dirty: f.Dirty}
	dir, err := os.MkdirTemp("", "holdfast-bench-cuts-")
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(dir)) }()
	for _, name := range slices.Sorted(maps.Keys(f.Checkpoints)) {
		m := &cutMeasure{cfg: f, note: cfg.Note, row: CutRow{Name: name}, load: newLoad(f.Keys)}
		if err := m.run(ctx, filepath.Join(dir, name)); err != nil {
			return nil, fmt.Errorf("%s: %w", name, err)
		}
		r.Rows = append(r.Rows, m.row)
	}
	return r, nil
}

// cutMeasure is the measurement of one backend.
type cutMeasure struct {
	cfg   CutsConfig
	note  func(string)
	row   CutRow
	load  *load
	st    *hostState
	files *countedFiles
	base  *backend.Base
	// due are the batches of the set in hand that were not counted yet.
	due  [][]uint32
	peer *embedded // of rocksdb

	cuts, batches          []time.Duration
	written, peerWritten   []float64
	peerTables             map[string]bool
	restored, restoredCore []float64
}

func (m *cutMeasure) run(ctx context.Context, dir string) (err error) {
	b, err := factories[m.row.Name](backend.Env{Dir: filepath.Join(dir, "state"), CacheBytes: m.cfg.CacheBytes})
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, b.Close()) }()
	if err := os.MkdirAll(filepath.Join(dir, "checkpoints"), 0o700); err != nil {
		return err
	}
	store, _, err := openStorage(ctx, filepath.Join(dir, "checkpoints"))
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, store.Close()) }()
	m.files = &countedFiles{s: store}
	if m.st, err = openState(ctx, b, "measured"); err != nil {
		return err
	}
	if err := m.checkpoints(ctx, dir); err != nil {
		return errors.Join(err, m.st.Close())
	}
	m.note(m.row.Name + ": restoring")
	full, err := m.full(ctx)
	if err = errors.Join(err, m.st.Close()); err != nil {
		return err
	}
	for i := range m.cfg.Restores {
		if err := m.restore(ctx, filepath.Join(dir, fmt.Sprintf("restored-%d", i)), full); err != nil {
			return err
		}
	}
	m.tell()
	return nil
}

func (m *cutMeasure) tell() {
	r := &m.row
	r.Checkpoints, r.Pause, r.Batch = len(m.cuts), microscopic(m.cuts), microscopic(m.batches)
	dirty := float64(m.cfg.Dirty * (keyBytes + valueBytes))
	r.WrittenToDirty = sumOf(m.written) / dirty / float64(len(m.written))
	r.EachToDirty = spreadOf(each(m.written, m.written, func(w, _ float64) float64 { return w / dirty }))
	if m.peer != nil {
		r.WrittenToPebble = sumOf(m.written) / sumOf(m.peerWritten)
	}
	r.RestorePerSecond, r.RestorePerCoreSecond = spreadOf(m.restored), spreadOf(m.restoredCore)
}

// checkpoints fills the state and takes checkpoints, each after all of another set
// of keys has changed.
func (m *cutMeasure) checkpoints(ctx context.Context, dir string) error {
	m.note(m.row.Name + ": writing every key")
	if m.row.Name == "rocksdb" {
		trees, err := openEmbedded(dir, 1, m.cfg.CacheBytes)
		if err != nil {
			return err
		}
		m.peer = trees[0]
		defer func() { _ = m.peer.close() }() // its files are removed
	}
	m.load.all()
	m.due = m.load.batches
	n := m.cfg.Checkpoints[m.row.Name]
	for i := range n + 1 { // the first one has every key, and does not count
		m.note(fmt.Sprintf("%s: checkpoint %d of %d", m.row.Name, i, n))
		if err := m.checkpoint(ctx, dir, uint64(i+1)); err != nil {
			return err
		}
		if i == 0 {
			m.cuts, m.batches, m.written, m.peerWritten = nil, nil, nil, nil
		}
	}
	m.note(m.row.Name + ": comparing every count")
	if err := m.finish(); err != nil {
		return err
	}
	return m.st.check(m.load)
}

// finish counts what is due of the set in hand.
func (m *cutMeasure) finish() error {
	for len(m.due) > 0 {
		if err := m.step(); err != nil {
			return err
		}
	}
	return nil
}

// step counts one batch that is due; where none is, it reads one.
func (m *cutMeasure) step() error {
	began := time.Now()
	defer func() { m.batches = append(m.batches, time.Since(began)) }()
	if len(m.due) == 0 {
		return m.st.read(m.load.batches[0])
	}
	b := m.due[0]
	m.due = m.due[1:]
	return m.st.count(b)
}

// checkpoint cuts when every key of the set in hand has changed, and writes the
// snapshot while those of the next set begin to change.
func (m *cutMeasure) checkpoint(ctx context.Context, dir string, id uint64) error {
	if err := m.finish(); err != nil {
		return err
	}
	peer, err := m.peerCheckpoint(filepath.Join(dir, fmt.Sprintf("peer-%d", id)))
	if err != nil {
		return fmt.Errorf("a checkpoint of Pebble: %w", err)
	}
	had, began := m.files.written.Load(), time.Now()
	sn, err := m.st.Cut(id)
	m.cuts = append(m.cuts, time.Since(began))
	if err != nil {
		return err
	}
	m.load.subset(rand.New(rand.NewPCG(id, 1)), m.cfg.Dirty)
	m.due = m.load.batches
	type outcome struct {
		handles []*holdfastv1.StateHandle
		err     error
	}
	done := make(chan outcome, 1)
	bug.Go(func() {
		h, err := sn.Write(ctx, m.files, m.base, true)
		done <- outcome{h, err}
	})
	o, err := beside(done, m.step)
	if err != nil {
		o = <-done
	}
	sn.Release()
	if err = errors.Join(err, o.err); err != nil {
		return err
	}
	m.base = &backend.Base{ID: id, Handles: o.handles}
	m.written = append(m.written, float64(m.files.written.Load()-had))
	m.peerWritten = append(m.peerWritten, float64(peer))
	return nil
}

// beside calls do again and again until something comes.
func beside[T any](done <-chan T, do func() error) (v T, err error) {
	for {
		select {
		case v = <-done:
			return v, nil
		default:
		}
		if err := do(); err != nil {
			return v, err
		}
	}
}

// peerCheckpoint counts the set in hand in Pebble, if that is there, and takes a
// checkpoint of it; it returns the bytes of the tables that the one before did not
// have.
func (m *cutMeasure) peerCheckpoint(dir string) (fresh uint64, err error) {
	if m.peer == nil {
		return 0, nil
	}
	if err := m.peer.run(m.load); err != nil {
		return 0, err
	}
	if err := m.peer.db.Flush(); err != nil {
		return 0, err
	}
	if err := m.peer.db.Checkpoint(dir); err != nil {
		return 0, err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(dir)) }()
	tables := map[string]bool{}
	err = filepath.WalkDir(dir, func(path string, e fs.DirEntry, err error) error {
		if err != nil || !strings.HasSuffix(path, ".sst") {
			return err
		}
		tables[e.Name()] = true
		if !m.peerTables[e.Name()] {
			fresh += bytesOf(path)
		}
		return nil
	})
	m.peerTables = tables
	return fresh, err
}

// full writes everything anew.
func (m *cutMeasure) full(ctx context.Context) ([]*holdfastv1.StateHandle, error) {
	sn, err := m.st.Cut(uint64(len(m.cuts) + 2))
	if err != nil {
		return nil, err
	}
	defer sn.Release()
	handles, err := sn.Write(ctx, m.files, nil, false)
	for _, h := range handles {
		m.row.FullBytes += h.Size
	}
	return handles, err
}

// restore restores the last checkpoint as another node would, and compares every key.
func (m *cutMeasure) restore(ctx context.Context, dir string, handles []*holdfastv1.StateHandle) (err error) {
	b, err := factories[m.row.Name](backend.Env{Dir: dir, CacheBytes: m.cfg.CacheBytes})
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, b.Close()) }()
	st, err := openState(ctx, b, "restored")
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, st.Close()) }()
	began, cpu := time.Now(), ownCPU()
	if err := st.Restore(ctx, m.files, handles); err != nil {
		return err
	}
	took, core := time.Since(began), ownCPU()-cpu
	m.restored = append(m.restored, float64(m.cfg.Keys)/took.Seconds())
	m.restoredCore = append(m.restoredCore, float64(m.cfg.Keys)/core.Seconds())
	return st.check(m.load)
}
