package raftstore

import (
	"errors"
	"fmt"
	"time"

	"github.com/hashicorp/raft"
	raftboltdb "github.com/hashicorp/raft-boltdb/v2"
	"go.etcd.io/bbolt"
	"golang.org/x/sys/unix"
)

// diskStore is what a log store on disk offers to Raft.
type diskStore interface {
	raft.LogStore
	raft.StableStore
	Close() error
}

// logStore watches a diskStore: an operation that does not return in time, and
// a write that fails, end the node. Raft itself would go on leading with a hung
// disk (hashicorp/raft issue 503), and after a failed fsync nobody knows what
// is on the disk.
type logStore struct {
	disk diskStore
	dog  *watchdog
	hook func(op string)
	// metrics may be nil.
	metrics *metrics
	fail    func(reason string)
}

var (
	_ raft.LogStore    = (*logStore)(nil)
	_ raft.StableStore = (*logStore)(nil)
)

// openTimeout bounds bbolt's own file lock, which the directory lock makes
// superfluous.
const openTimeout = time.Second

func openLogStore(path string, cfg Config, fail func(reason string)) (*logStore, error) {
	if err := checkBoltFile(path); err != nil {
		return nil, damaged(fmt.Errorf("open log store %s: %w", path, err))
	}
	disk, err := openBolt(raftboltdb.Options{
		Path:   path,
		NoSync: cfg.NoFsync,
		BoltOptions: &bbolt.Options{
			Timeout:        openTimeout,
			NoFreelistSync: true,
			FreelistType:   bbolt.FreelistMapType,
			NoSync:         cfg.NoFsync,
		},
	})
	if err != nil {
		return nil, fmt.Errorf("raftstore: open log store %s: %w", path, withRemedy(err))
	}
	s := &logStore{disk: disk, hook: cfg.StoreHook, fail: fail}
	s.dog = newWatchdog(cfg.LogStoreDeadline, func(op string) {
		fail(fmt.Sprintf("log store operation %s has not returned for %v: the disk hangs", op, cfg.LogStoreDeadline))
	})
	return s, nil
}

// openBolt turns the library's panic about keys out of order into an error.
func openBolt(o raftboltdb.Options) (disk *raftboltdb.BoltStore, err error) {
	defer func() {
		if p := recover(); p != nil {
			disk, err = nil, damaged(fmt.Errorf("%v", p))
		}
	}()
	return raftboltdb.New(o)
}

// watch runs one operation under the watchdog.
func (s *logStore) watch(op string, f func() error) error {
	token := s.dog.begin(op)
	defer s.dog.end(token)
	if s.hook != nil {
		s.hook(op)
	}
	return f()
}

// write is watch for operations that must not fail.
func (s *logStore) write(op string, f func() error) error {
	err := s.watch(op, f)
	if err != nil {
		s.fail(fmt.Sprintf("log store operation %s failed: %v", op, withRemedy(err)))
	}
	return err
}

// withRemedy says what to do about a disk that does not take what is written.
func withRemedy(err error) error {
	switch {
	case errors.Is(err, unix.ENOSPC), errors.Is(err, unix.EDQUOT):
		return fmt.Errorf("%w: make room on the disk of the data directory and start the node again", err)
	case errors.Is(err, unix.EROFS):
		return fmt.Errorf("%w: mount the disk of the data directory for writing and start the node again", err)
	}
	return err
}

// FirstIndex implements raft.LogStore.
func (s *logStore) FirstIndex() (index uint64, err error) {
	err = s.watch("FirstIndex", func() error { index, err = s.disk.FirstIndex(); return err })
	return index, err
}

// LastIndex implements raft.LogStore.
func (s *logStore) LastIndex() (index uint64, err error) {
	err = s.watch("LastIndex", func() error { index, err = s.disk.LastIndex(); return err })
	return index, err
}

// GetLog implements raft.LogStore. An entry that cannot be read ends the node
// with a reason; Raft would end it with a panic.
func (s *logStore) GetLog(index uint64, log *raft.Log) error {
	err := s.watch("GetLog", func() error { return s.disk.GetLog(index, log) })
	if err != nil && !errors.Is(err, raft.ErrLogNotFound) {
		s.fail(fmt.Sprintf("entry %d of the log cannot be read: %v: %s", index, err, newMember))
	}
	return err
}

// StoreLog implements raft.LogStore.
func (s *logStore) StoreLog(log *raft.Log) error {
	start := time.Now()
	err := s.write("StoreLog", func() error { return s.disk.StoreLog(log) })
	s.wrote(start, log)
	return err
}

// StoreLogs implements raft.LogStore.
func (s *logStore) StoreLogs(logs []*raft.Log) error {
	start := time.Now()
	err := s.write("StoreLogs", func() error { return s.disk.StoreLogs(logs) })
	s.wrote(start, logs...)
	return err
}

func (s *logStore) wrote(start time.Time, logs ...*raft.Log) {
	if s.metrics != nil {
		s.metrics.wrote(start, logs...)
	}
}

// deleteChunk is how many entries one transaction deletes. It holds up the
// entries that arrive meanwhile for some 10 ms.
const deleteChunk = 1024

// DeleteRange implements raft.LogStore. It deletes in parts: cutting the log
// behind a snapshot can mean hundreds of thousands of entries, and one
// transaction over them would block the log for seconds.
//
// After a crash between two parts the log has no hole: a range that reaches the
// end is deleted from the end, any other from its beginning, which is that of
// the log.
func (s *logStore) DeleteRange(first, last uint64) error {
	end, err := s.LastIndex()
	if err != nil {
		return err
	}
	for first <= last {
		from, to := first, last
		if n := last - first + 1; n > deleteChunk && last >= end {
			from = last - deleteChunk + 1
		} else if n > deleteChunk {
			to = first + deleteChunk - 1
		}
		if err := s.write("DeleteRange", func() error { return s.disk.DeleteRange(from, to) }); err != nil {
			return err
		}
		if from > first {
			last, end = from-1, from-1
		} else {
			first = to + 1
		}
	}
	return nil
}

// Set implements raft.StableStore.
func (s *logStore) Set(key, value []byte) error {
	return s.write("Set", func() error { return s.disk.Set(key, value) })
}

// Get implements raft.StableStore.
func (s *logStore) Get(key []byte) (value []byte, err error) {
	err = s.watch("Get", func() error { value, err = s.disk.Get(key); return err })
	return value, err
}

// SetUint64 implements raft.StableStore.
func (s *logStore) SetUint64(key []byte, value uint64) error {
	return s.write("SetUint64", func() error { return s.disk.SetUint64(key, value) })
}

// GetUint64 implements raft.StableStore.
func (s *logStore) GetUint64(key []byte) (value uint64, err error) {
	err = s.watch("GetUint64", func() error { value, err = s.disk.GetUint64(key); return err })
	return value, err
}

func (s *logStore) close() error {
	s.dog.close()
	return s.disk.Close()
}

// stampKey holds the node id in the log store, so that a store cannot be taken
// for that of another node.
var stampKey = []byte("holdfast/node-id")

// checkStamp compares the store with the identity of the directory, and marks
// both when they are new. Error: ErrDataDirCorrupt.
func (s *logStore) checkStamp(self *identity) error {
	rec := self.record()
	stamp, err := s.Get(stampKey)
	switch {
	case err != nil && !errors.Is(err, raftboltdb.ErrKeyNotFound):
		return damaged(fmt.Errorf("read log store: %w", err))
	case string(stamp) == rec.NodeID:
	case len(stamp) > 0:
		return damaged(fmt.Errorf("the log store is of node %s, the directory of node %s", stamp, rec.NodeID))
	case rec.StoreMade:
		return damaged(fmt.Errorf("the log store of node %s is gone, and its votes with it", rec.NodeID))
	default:
		if err := s.Set(stampKey, []byte(rec.NodeID)); err != nil {
			return fmt.Errorf("raftstore: mark log store: %w", err)
		}
	}
	if rec.StoreMade {
		return nil
	}
	return self.update(func(r *identityRecord) { r.StoreMade = true })
}
