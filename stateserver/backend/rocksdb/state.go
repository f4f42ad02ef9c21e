package rocksdb

import (
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"sync"
	"sync/atomic"

	"github.com/cockroachdb/pebble/v2"

	holdfastv1 "github.com/holdfast-io/holdfast/proto/holdfast/v1"
	"github.com/holdfast-io/holdfast/raftstore/keyed"
)

// State is one tree: the working state of one attempt of a subtask.
type State struct {
	b    *Backend
	cfg  keyed.SpaceConfig
	name string
	dir  string // of this state alone
	log  *slog.Logger

	fs       *disk
	db       *pebble.DB
	memTable uint64 // bytes, of the largest

	// Of Apply and Get.
	check   keyed.Batch
	batch   *pebble.Batch
	key     []byte // scratch memory
	value   []byte // scratch memory
	lookup  lookup
	ops     []pending // scratch memory, of one section
	order   order
	unseen  unseen
	sweeper sweeper
	lengths bool   // a state has lists or maps
	limited bool   // a state has a limit
	sizes   []size // by index in cfg.States
	next    []size // scratch memory

	// Of cuts.
	room   room
	taking *capture // the newest cut, nil once it is taken
	cuts   uint64   // so far

	// Of checkpoints, for one goroutine at a time.
	upload sync.Mutex
	shared map[string]*holdfastv1.StateHandle // tables that are in a checkpoint of this state, by name
	kept   []keptSet                          // local copies of checkpoints, oldest first

	counts  counts
	written atomic.Int64 // operations since the tree was opened
	closing sync.RWMutex // Bytes comes from anyone
	closed  bool
}

// dbDir is the tree's own directory.
func (s *State) dbDir() string { return filepath.Join(s.dir, "db") }

// create makes the directory and an empty tree in it.
func (s *State) create() error {
	if err := os.RemoveAll(s.dir); err != nil {
		return fmt.Errorf("open state %s: %w", s.name, err)
	}
	if err := os.MkdirAll(s.dbDir(), 0o700); err != nil {
		return fmt.Errorf("open state %s: %w", s.name, err)
	}
	s.sizes = make([]size, len(s.cfg.States))
	s.unseen.base = make([]int64, len(s.cfg.States))
	for i := range s.cfg.States {
		st := &s.cfg.States[i]
		s.limited = s.limited || st.MaxBytes > 0
		s.lengths = s.lengths || st.Kind != keyed.KindValue
		if st.TTLMs > 0 {
			s.sweeper.states = append(s.sweeper.states, i)
		}
	}
	s.shared = map[string]*holdfastv1.StateHandle{}
	return s.start()
}

// start opens the tree in the directory.
func (s *State) start() error {
	s.fs = newDisk(s.dbDir())
	o := options(&s.cfg, s.fs, s.log)
	o.Cache, o.FileCache, o.MemTableSize = s.b.cache, s.b.files, s.memTable
	err := guarded(s.fs.fail, func() (err error) {
		s.db, err = pebble.Open(s.dbDir(), o)
		return err
	})
	if err == nil {
		err = s.fs.err()
	}
	if err != nil {
		return fmt.Errorf("open the tree of state %s: %w", s.name, err)
	}
	s.batch = s.db.NewBatch()
	s.room = newRoom(s.memTable)
	return nil
}

// do calls f on the tree. Its error, or one of the background, loses the state,
// unless it is a refusal.
func (s *State) do(what string, f func() error) error {
	if err := s.alive(); err != nil {
		return err
	}
	err := guarded(s.fs.fail, f)
	if r := (refusal{}); errors.As(err, &r) {
		return r.error
	}
	if err != nil {
		s.fs.fail(fmt.Errorf("%s: %w", what, err))
	}
	return s.alive()
}

// changed forgets what is known of the contents: the tables are other ones, and
// there is nothing else in the tree.
func (s *State) changed() error {
	for i := range s.sizes {
		s.sizes[i] = size{unknown: true}
	}
	if !s.lengths {
		return nil
	}
	return s.setBase()
}

// alive returns why the state is lost.
func (s *State) alive() error {
	if err := s.fs.err(); err != nil {
		return fmt.Errorf("state %s is lost: %w", s.name, err)
	}
	return nil
}

// Close implements backend.State.
func (s *State) Close() error {
	s.closing.Lock()
	defer s.closing.Unlock()
	if s.closed {
		return nil
	}
	s.closed = true
	if s.taking != nil {
		<-s.taking.done
	}
	s.upload.Lock() // a snapshot may still be read
	defer s.upload.Unlock()
	s.b.local.leave(s.kept)
	err := s.stop()
	err = errors.Join(err, os.RemoveAll(s.dir))
	s.b.closedState()
	if err != nil {
		return fmt.Errorf("close state %s: %w", s.name, err)
	}
	return nil
}

// stop closes the tree.
func (s *State) stop() error {
	if s.db == nil {
		return nil
	}
	db := s.db
	s.db = nil
	if lost := s.fs.err(); lost != nil {
		s.log.Warn("the working state is lost", "reason", lost)
		if errors.Is(lost, errFatal) {
			// Pebble was left in the middle of something: to close it would wait
			// for ever. Its memory is lost until the process ends.
			return nil
		}
		_ = guarded(s.fs.fail, func() error { return errors.Join(s.batch.Close(), db.Close()) })
		return nil
	}
	return guarded(s.fs.fail, func() error { return errors.Join(s.batch.Close(), db.Close()) })
}
