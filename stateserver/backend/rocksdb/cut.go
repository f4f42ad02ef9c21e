package rocksdb

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"time"

	"github.com/cockroachdb/pebble/v2"

	"github.com/holdfast-io/holdfast/stateserver/backend"
)

// capture is a cut on its way to a directory of hard links.
type capture struct {
	checkpoint uint64
	dir        string
	lastSeq    uint64        // of the last change that belongs to it
	done       chan struct{} // closed when the directory is there, or err is set
	err        error
}

// Cut implements backend.State. It only turns the memtable over: from then on
// changes go to another one. What the cut has is flushed and hard-linked beside the
// stream. Until that is done the new memtable must not become full (makeRoom): then
// the tables on the disk are exactly the cut.
func (s *State) Cut(checkpoint uint64) (backend.Snapshot, error) {
	if err := s.alive(); err != nil {
		return nil, err
	}
	if s.taking != nil {
		<-s.taking.done
	}
	s.cuts++
	c := &capture{checkpoint: checkpoint, dir: s.cutDir(checkpoint), done: make(chan struct{})}
	var flushed <-chan struct{}
	err := s.do("cut", func() (err error) {
		// A mark is no change: it has the number of the next one.
		s.batch.Reset()
		if err := errors.Join(s.batch.LogData([]byte{0}, nil), s.batch.Commit(pebble.NoSync)); err != nil {
			return err
		}
		c.lastSeq = uint64(s.batch.SeqNum()) - 1
		flushed, err = s.db.AsyncFlush()
		return err
	})
	if err != nil {
		return nil, err
	}
	s.taking, s.room.sinceCut = c, 0
	go s.capture(c, flushed)
	return &snapshot{s: s, c: c}, nil
}

// flushPoll is how often a cut that waits looks whether the state was lost.
const flushPoll = 50 * time.Millisecond

// capture waits for the flush and links the tables.
func (s *State) capture(c *capture, flushed <-chan struct{}) {
	defer close(c.done)
	if c.err = s.await(flushed); c.err != nil {
		return
	}
	c.err = guarded(s.fs.fail, func() error {
		if err := s.db.Checkpoint(c.dir); err != nil {
			return err
		}
		return errors.Join(s.nothingLater(c), packMeta(c.dir, &s.cfg))
	})
	if c.err != nil {
		c.err = errors.Join(fmt.Errorf("take checkpoint %d of state %s: %w", c.checkpoint, s.name, c.err), os.RemoveAll(c.dir))
	}
}

// await waits for a flush, which a lost state may never finish.
func (s *State) await(flushed <-chan struct{}) error {
	look := time.NewTicker(flushPoll)
	defer look.Stop()
	for {
		select {
		case <-flushed:
			return s.alive()
		case <-look.C:
			if err := s.alive(); err != nil {
				return err
			}
		}
	}
}

// nothingLater checks that no table of a cut has a change from after it.
func (s *State) nothingLater(c *capture) error {
	levels, err := s.db.SSTables()
	if err != nil {
		return err
	}
	for _, level := range levels {
		for i := range level {
			t := &level[i]
			if uint64(t.LargestSeqNum) <= c.lastSeq {
				continue
			}
			name := tableName(uint64(t.BackingSSTNum))
			if _, err := os.Stat(filepath.Join(c.dir, name)); err == nil {
				return fmt.Errorf("%s has change %d, the cut ends with %d", name, t.LargestSeqNum, c.lastSeq)
			}
		}
	}
	return nil
}

// cutDir is where the newest cut is linked. Its number is in the name because a state
// may be cut for one checkpoint again, while a local copy of the cut before is there,
// or is being removed.
func (s *State) cutDir(checkpoint uint64) string {
	return filepath.Join(s.dir, fmt.Sprintf("chk-%d-%d", checkpoint, s.cuts))
}

// tableName is the file of a table.
func tableName(n uint64) string { return fmt.Sprintf("%06d.sst", n) }
