package raftstore

import (
	"bufio"
	"encoding/binary"
	"errors"
	"fmt"
	"io"

	"google.golang.org/protobuf/proto"

	"github.com/holdfast-io/holdfast/coordinator"
	internalv1 "github.com/holdfast-io/holdfast/proto/holdfast/internalv1"
	"github.com/holdfast-io/holdfast/raftstore/keyed"
)

// maxRecordBytes bounds one coordinator record of a snapshot.
const maxRecordBytes = 1 << 30

// fsmView is an immutable picture of the state. Its stream is
//
//	uvarint index of the last command
//	uvarint number of coordinator records, then each as uvarint length + Record
//	the keyed state's own stream, to the end
type fsmView struct {
	index   uint64
	records []*internalv1.Record
	keyed   *keyed.View
}

// Write implements [View].
func (v *fsmView) Write(w io.Writer) error {
	var buf []byte
	buf = binary.AppendUvarint(buf, v.index)
	buf = binary.AppendUvarint(buf, uint64(len(v.records)))
	for _, r := range v.records {
		b, err := proto.MarshalOptions{Deterministic: true}.Marshal(r)
		if err != nil {
			return fmt.Errorf("marshal a coordinator record: %w", err)
		}
		buf = binary.AppendUvarint(buf, uint64(len(b)))
		if _, err := w.Write(append(buf, b...)); err != nil {
			return err
		}
		buf = buf[:0]
	}
	if _, err := w.Write(buf); err != nil {
		return err
	}
	return v.keyed.Write(w)
}

// Release implements [View].
func (v *fsmView) Release() { v.keyed.Release() }

// Restore implements [StateMachine].
func (f *fsm) Restore(r io.Reader) error {
	br := bufio.NewReaderSize(r, 1<<20)
	index, err := binary.ReadUvarint(br)
	if err != nil {
		return fmt.Errorf("read a snapshot: %w", noEOF(err))
	}
	records, err := readRecords(br, f.sizes)
	if err != nil {
		return fmt.Errorf("read the coordinator records of a snapshot: %w", err)
	}
	store, err := keyed.Read(br)
	if err != nil {
		return fmt.Errorf("read the keyed state of a snapshot: %w", err)
	}
	// Only a clean end says that the checksum over everything fits.
	if _, err := br.ReadByte(); !errors.Is(err, io.EOF) {
		if err == nil {
			err = errors.New("bytes after its end")
		}
		return fmt.Errorf("read a snapshot: %w", err)
	}
	k := &keyedState{store: store}
	m, err := coordinator.RestoreMachine(k, records)
	if err != nil {
		return fmt.Errorf("restore the coordinator from a snapshot: %w", err)
	}
	f.swap(index, m, k)
	return nil
}

func (f *fsm) swap(index uint64, m *coordinator.Machine, k *keyedState) {
	f.mu.Lock()
	m.SetMetrics(f.metrics)
	f.machine, f.keyed = m, k
	f.lastIndex, f.restored = index, index
	f.version.Store(m.ClusterVersion())
	touched := m.TakeTouched()
	f.mu.Unlock()
	f.hub.publish(touched)
}

// readRecords reads the coordinator's part and counts its bytes by kind in
// sizes, if that is not nil.
func readRecords(br *bufio.Reader, sizes map[string]uint64) ([]*internalv1.Record, error) {
	n, err := binary.ReadUvarint(br)
	if err != nil {
		return nil, noEOF(err)
	}
	var out []*internalv1.Record
	for range n {
		size, err := binary.ReadUvarint(br)
		if err != nil {
			return nil, noEOF(err)
		}
		if size > maxRecordBytes {
			return nil, fmt.Errorf("a record of %d bytes, at most %d are allowed", size, maxRecordBytes)
		}
		b, err := io.ReadAll(io.LimitReader(br, int64(size)))
		if err != nil {
			return nil, err
		}
		if uint64(len(b)) != size {
			return nil, io.ErrUnexpectedEOF
		}
		rec := &internalv1.Record{}
		if err := proto.Unmarshal(b, rec); err != nil {
			return nil, err
		}
		if sizes != nil {
			sizes[kindOf(rec)] += size
		}
		out = append(out, rec)
	}
	return out, nil
}

func kindOf(rec *internalv1.Record) string {
	switch rec.GetRecord().(type) {
	case *internalv1.Record_Meta:
		return "meta"
	case *internalv1.Record_Job:
		return "job"
	case *internalv1.Record_Node:
		return "node"
	case *internalv1.Record_Request:
		return "request"
	}
	return "other"
}

func noEOF(err error) error {
	if errors.Is(err, io.EOF) {
		return io.ErrUnexpectedEOF
	}
	return err
}
