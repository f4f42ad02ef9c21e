package stateserver

import (
	"context"
	"encoding/binary"
	"fmt"
	"slices"

	"github.com/holdfast-io/holdfast/coordinator"
	"github.com/holdfast-io/holdfast/internal/statevalue"
	holdfastv1 "github.com/holdfast-io/holdfast/proto/holdfast/v1"
	"github.com/holdfast-io/holdfast/raftstore/keyed"
	"github.com/holdfast-io/holdfast/stateserver/backend"
	"github.com/holdfast-io/holdfast/stateserver/snapshots"
)

// readOperatorState sends one operator state of a snapshot.
func readOperatorState(ctx context.Context, s *snapshots.Reader, d *holdfastv1.OperatorStateDescriptor, r *holdfastv1.ReadSnapshotRequest, send func(*holdfastv1.ReadSnapshotResponse) error) error {
	all, err := s.OperatorStates(ctx, r.OperatorUid)
	if err != nil {
		return toStatus(fromStorage("the snapshot cannot be read", err))
	}
	es := newOperatorEntries(all, r.OperatorUid, d)
	if err := sendEntries(es, r, &holdfastv1.ReadSnapshotResponse{StateDescriptor: coordinator.ElementDescriptor(d), OperatorState: d}, send); err != nil {
		return err
	}
	if err := es.Err(); err != nil {
		return toStatus(fromStorage("the snapshot cannot be read", err))
	}
	return nil
}

// operatorEntries implements [backend.Entries] over one operator state of all
// subtasks: the key group is the index of the subtask, and the key of a list is the
// place, big endian, so that entries are in the order of their keys.
type operatorEntries struct {
	contents [][]byte // by subtask
	isMap    bool
	subtask  int
	place    uint64
	entry    backend.Entry
	err      error
}

func newOperatorEntries(all []*holdfastv1.OperatorStates, uid string, d *holdfastv1.OperatorStateDescriptor) *operatorEntries {
	e := &operatorEntries{contents: make([][]byte, len(all)), isMap: d.GetMode() == holdfastv1.OperatorStateMode_OPERATOR_STATE_MODE_BROADCAST}
	for i, o := range all {
		for _, s := range o.GetStates() {
			if s.GetOperatorUid() == uid && s.GetState().GetName() == d.GetName() {
				e.contents[i] = s.GetContent()
			}
		}
	}
	return e
}

// Next implements [backend.Entries].
func (e *operatorEntries) Next() bool {
	for e.err == nil && e.subtask < len(e.contents) {
		rest := e.contents[e.subtask]
		if len(rest) == 0 {
			e.subtask, e.place = e.subtask+1, 0
			continue
		}
		e.entry = backend.Entry{KeyGroup: uint32(e.subtask)}
		if e.isMap {
			var x statevalue.Entry
			x, rest, e.err = statevalue.NextEntry(rest, false)
			e.entry.Key, e.entry.Value = x.Key, x.Value
		} else {
			var x statevalue.Element
			x, rest, e.err = statevalue.NextElement(rest, false)
			e.entry.Key, e.entry.Value = binary.BigEndian.AppendUint64(nil, e.place), x.Value
		}
		e.contents[e.subtask], e.place = rest, e.place+1
		return e.err == nil
	}
	return false
}

// Entry implements [backend.Entries].
func (e *operatorEntries) Entry() backend.Entry { return e.entry }

// Err implements [backend.Entries].
func (e *operatorEntries) Err() error { return e.err }

// Close implements [backend.Entries].
func (e *operatorEntries) Close() error { return nil }

// operatorStateRead is an operator state of a completed checkpoint of a job.
type operatorStateRead struct {
	d   *holdfastv1.OperatorStateDescriptor
	all []*holdfastv1.OperatorStates // by subtask
	uid string
}

// operatorState reads the operator state that a selector names; nil if it names none.
func (t *stateService) operatorState(ctx context.Context, sel *holdfastv1.StateSelector) (*operatorStateRead, error) {
	var d *holdfastv1.OperatorStateDescriptor
	var snap *coordinator.Snapshot
	var e *holdfastv1.Error
	t.s.store.Read(func(m *coordinator.Machine, _ *keyed.Store) {
		var job string
		if job, d, e = m.OperatorStateOf(sel); d != nil && e == nil {
			snap, _ = m.SnapshotOf(job, sel.CheckpointId)
		}
	})
	switch {
	case e != nil:
		return nil, toStatus(e)
	case d == nil:
		return nil, nil
	case snap == nil:
		return nil, toStatus(coordinator.Failure(holdfastv1.ErrorReason_ERROR_REASON_STATE_NOT_FOUND, fmt.Sprintf("checkpoint %d is not retained", sel.CheckpointId)))
	}
	r := &operatorStateRead{d: d, uid: sel.OperatorUid}
	for _, v := range snap.Vertices {
		if !slices.Contains(v.Chain, sel.OperatorUid) {
			continue
		}
		for _, st := range v.Subtasks {
			one, err := checkpointSource{t.s, snap}.OperatorStates(ctx, st)
			if err != nil {
				return nil, readError(err)
			}
			r.all = append(r.all, one)
		}
	}
	return r, nil
}

func (r *operatorStateRead) entries() *operatorEntries { return newOperatorEntries(r.all, r.uid, r.d) }

// get answers a Get: of each key the entries of all subtasks that have it.
func (r *operatorStateRead) get(keys [][]byte) (*holdfastv1.GetResponse, error) {
	out := &holdfastv1.GetResponse{Type: r.d.Type, StateDescriptor: coordinator.ElementDescriptor(r.d), OperatorState: r.d}
	byKey := map[string][]*holdfastv1.StateEntry{}
	es := r.entries()
	for es.Next() {
		x := es.Entry()
		byKey[string(x.Key)] = append(byKey[string(x.Key)], &holdfastv1.StateEntry{Key: x.Key, Value: x.Value, Found: true, KeyGroup: x.KeyGroup})
	}
	size := 0
	for i, k := range keys {
		found := byKey[string(k)]
		if len(found) == 0 {
			found = []*holdfastv1.StateEntry{{Key: k}}
		}
		out.Entries = append(out.Entries, found...)
		for _, x := range found {
			size += len(x.Key) + len(x.Value) + entryOverheadBytes
		}
		if size > maxPageBytes {
			return nil, invalidRequest("keys", fmt.Sprintf("the values of the first %d keys take more than %d bytes; ask for fewer", i+1, maxPageBytes))
		}
	}
	return out, readError(es.Err())
}

// scan answers a Scan with a page.
func (r *operatorStateRead) scan(q *holdfastv1.ScanRequest, cur scanCursor, size int) (*holdfastv1.ScanResponse, error) {
	out := &holdfastv1.ScanResponse{Type: r.d.Type, StateDescriptor: coordinator.ElementDescriptor(r.d), OperatorState: r.d}
	left := maxPageBytes
	es := r.entries()
	for es.Next() {
		x := es.Entry()
		at := uint64(x.KeyGroup)
		if at < cur.subtask || at == cur.subtask && cur.at.AfterKey && string(x.Key) <= string(cur.at.Key) {
			continue
		}
		if n := len(out.Entries); n > 0 && (n == size || left < len(x.Key)+len(x.Value)) {
			last := out.Entries[n-1]
			out.NextPageToken = scanCursor{uint64(last.KeyGroup), keyed.Cursor{AfterKey: true, Key: last.Key}}.token()
			return out, nil
		}
		entry := &holdfastv1.StateEntry{Key: x.Key, Found: true, KeyGroup: x.KeyGroup}
		if !q.KeysOnly {
			entry.Value = x.Value
		}
		out.Entries = append(out.Entries, entry)
		left -= len(x.Key) + len(x.Value) + entryOverheadBytes
	}
	return out, readError(es.Err())
}
