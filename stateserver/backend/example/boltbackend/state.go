package boltbackend

import (
	"encoding/binary"
	"errors"
	"fmt"
	"os"
	"sync"

	"go.etcd.io/bbolt"

	"github.com/holdfast-io/holdfast/raftstore/keyed"
)

// State is one bbolt file. Its one bucket has all entries: the key is state number
// (4 bytes, big endian), key group (2 bytes), and the user's key, so that a cursor
// meets them in the order of backend.Entries. The value is the stored one.
type State struct {
	db    *bbolt.DB
	path  string
	cfg   keyed.SpaceConfig
	check keyed.Batch

	mu     sync.Mutex // Bytes comes from anyone
	totals []total    // by index in cfg.States
}

// total is what a state holds.
type total struct{ bytes, entries int64 }

var bucketName = []byte("entries")

// bucketOf returns the bucket of the entries.
func bucketOf(tx *bbolt.Tx) *bbolt.Bucket { return tx.Bucket(bucketName) }

// reset makes the bucket.
func (s *State) reset(tx *bbolt.Tx) error {
	_, err := tx.CreateBucket(bucketName)
	return err
}

func appendKey(dst []byte, state, group uint32, key []byte) []byte {
	dst = binary.BigEndian.AppendUint32(dst, state)
	dst = binary.BigEndian.AppendUint16(dst, uint16(group))
	return append(dst, key...)
}

func splitKey(k []byte) (state, group uint32, key []byte) {
	return binary.BigEndian.Uint32(k), uint32(binary.BigEndian.Uint16(k[4:])), k[6:]
}

// Apply implements backend.State: one transaction, which a refusal rolls back.
func (s *State) Apply(sections []keyed.Section, nowMs int64) error {
	if err := s.check.Check(&s.cfg, sections); err != nil {
		return err
	}
	c := change{s: s, nowMs: nowMs, totals: append([]total(nil), s.totals...)}
	err := s.db.Update(func(tx *bbolt.Tx) error {
		c.bucket = bucketOf(tx)
		hashes := s.check.Hashes()
		for i := range sections {
			if err := c.section(i, &sections[i], hashes); err != nil {
				return err
			}
			hashes = hashes[len(sections[i].Ops):]
		}
		return c.limits()
	})
	if err == nil {
		s.setTotals(c.totals)
	}
	return err
}

func (s *State) setTotals(totals []total) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.totals = totals
}

// Get implements backend.State.
func (s *State) Get(stateID uint32, keyGroup int64, keyLengths []uint32, keys []byte, dst *keyed.Values, nowMs int64) error {
	i, err := s.cfg.StateIndex(stateID)
	if err != nil {
		return err
	}
	named, err := s.cfg.CheckKeys(keyGroup, keyLengths, keys)
	if err != nil {
		return err
	}
	st, before := &s.cfg.States[i], *dst
	err = s.db.View(func(tx *bbolt.Tx) error {
		var buf []byte
		for _, n := range keyLengths {
			key := keys[:n]
			keys = keys[n:]
			group, err := s.groupOf(named, keyed.HashKey(key))
			if err != nil {
				return err
			}
			buf = appendKey(buf[:0], stateID, group, key)
			value := bucketOf(tx).Get(buf)
			found := value != nil
			if found && nowMs != 0 {
				value, found = st.Visible(nil, value, nowMs)
			}
			if !dst.Add(value, found, len(before.Values)) {
				return nil
			}
		}
		return nil
	})
	if err != nil {
		*dst = before
	}
	return err
}

// groupOf returns the key group of a key: the one that the caller named, relative to
// the subtask's first, or that of the hash.
func (s *State) groupOf(named int, hash uint64) (uint32, error) {
	if named >= 0 {
		return s.cfg.Start + uint32(named), nil
	}
	g := s.cfg.GroupOf(hash)
	if g < 0 || g >= int(s.cfg.End-s.cfg.Start) {
		return 0, s.cfg.ForeignKey(hash)
	}
	return s.cfg.Start + uint32(g), nil
}

// Scan implements backend.State.
func (s *State) Scan(stateID uint32, after keyed.Cursor, limit, maxBytes int) (page keyed.Page, next keyed.Cursor, done bool, err error) {
	if _, err := s.cfg.StateIndex(stateID); err != nil {
		return page, next, false, err
	}
	if limit < 1 || maxBytes < 1 {
		return page, next, false, fmt.Errorf("%w: scan of %d entries, %d bytes", keyed.ErrMalformed, limit, maxBytes)
	}
	done = true
	if after.KeyGroup < s.cfg.End {
		err = s.db.View(func(tx *bbolt.Tx) error {
			c := bucketOf(tx).Cursor()
			from := appendKey(nil, stateID, after.KeyGroup, nil)
			if after.AfterKey {
				from = append(append(from, after.Key...), 0)
			}
			for k, v := c.Seek(from); k != nil; k, v = c.Next() {
				state, group, key := splitKey(k)
				if state != stateID {
					return nil
				}
				if len(page.KeyLengths) == min(limit, keyed.MaxScanRows) || !page.Add(group, key, v, maxBytes) {
					done = false
					return nil
				}
			}
			return nil
		})
	}
	if done {
		return page, keyed.Cursor{KeyGroup: s.cfg.End}, true, err
	}
	return page, page.Last(), false, err
}

// Bytes implements backend.State.
func (s *State) Bytes(stateID uint32) (bytes, entries int64, err error) {
	i, err := s.cfg.StateIndex(stateID)
	if err != nil {
		return 0, 0, err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.totals[i].bytes, s.totals[i].entries, nil
}

// Close implements backend.State.
func (s *State) Close() error { return errors.Join(s.db.Close(), removeFile(s.path)) }

func removeFile(path string) error {
	if err := os.Remove(path); !errors.Is(err, os.ErrNotExist) {
		return err
	}
	return nil
}
