package boltbackend

import (
	"bufio"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"

	"go.etcd.io/bbolt"

	holdfastv1 "github.com/holdfast-io/holdfast/proto/holdfast/v1"
	"github.com/holdfast-io/holdfast/stateserver/backend"
)

// A snapshot is one part: for each entry its key in the bucket and its value, each
// behind its length as a uvarint, in the order of the bucket.
const (
	partName = "entries"
	format   = "example-bolt"
)

// Cut implements backend.State. A read transaction sees the file as it is now,
// whatever is written later, and costs nothing to begin.
func (s *State) Cut(uint64) (backend.Snapshot, error) {
	tx, err := s.db.Begin(false)
	if err != nil {
		return nil, err
	}
	return &snapshot{tx: tx}, nil
}

type snapshot struct{ tx *bbolt.Tx }

// Release implements backend.Snapshot.
func (sn *snapshot) Release() { _ = sn.tx.Rollback() } // of a read: there is nothing to fail

// Write implements backend.Snapshot.
func (sn *snapshot) Write(ctx context.Context, files backend.Files, _ *backend.Base, _ bool) ([]*holdfastv1.StateHandle, error) {
	w, err := files.Create(ctx, partName, format, false)
	if err != nil {
		return nil, err
	}
	if err := sn.writeTo(ctx, w); err != nil {
		w.Abort()
		return nil, err
	}
	h, err := w.Commit()
	if err != nil {
		return nil, err
	}
	return []*holdfastv1.StateHandle{h}, nil
}

func (sn *snapshot) writeTo(ctx context.Context, w io.Writer) error {
	out := bufio.NewWriterSize(w, 64<<10)
	n := 0
	err := bucketOf(sn.tx).ForEach(func(k, v []byte) error {
		if n++; n%1024 == 0 && ctx.Err() != nil {
			return ctx.Err()
		}
		for _, b := range [][]byte{k, v} {
			if _, err := out.Write(binary.AppendUvarint(nil, uint64(len(b)))); err != nil {
				return err
			}
			if _, err := out.Write(b); err != nil {
				return err
			}
		}
		return nil
	})
	return errors.Join(err, ctx.Err(), out.Flush())
}

// entries reads a snapshot.
type entries struct {
	file io.ReadCloser
	r    *bufio.Reader
	at   backend.Entry
	err  error
}

func openEntries(ctx context.Context, files backend.Files, handles []*holdfastv1.StateHandle) (*entries, error) {
	if len(handles) != 1 || handles[0].GetFormat() != format {
		name := "none"
		if len(handles) > 0 {
			name = handles[0].GetFile()
		}
		return nil, fmt.Errorf("%w: want one part of format %s, have %d, the first is %s", backend.ErrDamaged, format, len(handles), name)
	}
	f, err := files.Open(ctx, handles[0])
	if err != nil {
		return nil, err
	}
	return &entries{file: f, r: bufio.NewReaderSize(f, 64<<10)}, nil
}

// maxPart bounds what a damaged length can ask for.
const maxPart = 32 << 20

// Next implements backend.Entries.
func (e *entries) Next() bool {
	if e.err != nil {
		return false
	}
	if _, err := e.r.Peek(1); errors.Is(err, io.EOF) {
		return false
	}
	key, err := e.chunk()
	if err == nil && len(key) < 6 {
		err = errors.New("an entry without a key")
	}
	var value []byte
	if err == nil {
		value, err = e.chunk()
	}
	if err != nil {
		e.fail(err)
		return false
	}
	state, group, user := splitKey(key)
	e.at = backend.Entry{StateID: state, KeyGroup: group, Key: user, Value: value}
	return true
}

func (e *entries) chunk() ([]byte, error) {
	n, err := binary.ReadUvarint(e.r)
	if err != nil {
		return nil, err
	}
	if n > maxPart {
		return nil, fmt.Errorf("a length of %d", n)
	}
	b := make([]byte, n)
	_, err = io.ReadFull(e.r, b)
	return b, err
}

// fail reads on to the end: if the file is not what was written, that is the error,
// which names it.
func (e *entries) fail(err error) {
	if _, file := io.Copy(io.Discard, e.r); file != nil {
		err = file
	}
	e.err = fmt.Errorf("%w: %w", backend.ErrDamaged, err)
}

// Entry implements backend.Entries.
func (e *entries) Entry() backend.Entry { return e.at }

// Err implements backend.Entries.
func (e *entries) Err() error { return e.err }

// Close implements backend.Entries.
func (e *entries) Close() error { return e.file.Close() }

// Restore implements backend.State.
func (s *State) Restore(ctx context.Context, files backend.Files, handles []*holdfastv1.StateHandle) error {
	from, err := openEntries(ctx, files, handles)
	if err != nil {
		return err
	}
	if err = s.Load(ctx, from); err != nil && ctx.Err() == nil {
		from.fail(err)
		err = from.err
	}
	return errors.Join(err, from.Close())
}

// loadEntries is how many entries one transaction of Load has.
const loadEntries = 10_000

// Load implements backend.State.
func (s *State) Load(ctx context.Context, from backend.Entries) error {
	for more := true; more; {
		if err := ctx.Err(); err != nil {
			return err
		}
		c := change{s: s, totals: append([]total(nil), s.totals...)}
		err := s.db.Update(func(tx *bbolt.Tx) (err error) {
			c.bucket = bucketOf(tx)
			more, err = c.load(from)
			return err
		})
		if err != nil {
			return err
		}
		s.setTotals(c.totals)
	}
	return from.Err()
}

// load adds some entries; more is false at the end.
func (c *change) load(from backend.Entries) (more bool, err error) {
	c.bucket.FillPercent = 0.9 // they come in order
	for range loadEntries {
		if !from.Next() {
			return false, nil
		}
		e := from.Entry()
		if e.KeyGroup < c.s.cfg.Start || e.KeyGroup >= c.s.cfg.End {
			continue
		}
		i, err := c.s.cfg.StateIndex(e.StateID)
		if err != nil {
			return false, err
		}
		if err := c.s.cfg.States[i].CheckStored(e.Value); err != nil {
			return false, err
		}
		c.key = appendKey(c.key[:0], e.StateID, e.KeyGroup, e.Key)
		if err := c.set(&c.totals[i], c.key, nil, append([]byte{}, e.Value...), true); err != nil {
			return false, err
		}
	}
	return true, nil
}
