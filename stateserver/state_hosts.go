package stateserver

import (
	"context"
	"fmt"

	"google.golang.org/protobuf/proto"

	"github.com/holdfast-io/holdfast/coordinator"
	internalv1 "github.com/holdfast-io/holdfast/proto/holdfast/internalv1"
	holdfastv1 "github.com/holdfast-io/holdfast/proto/holdfast/v1"
	"github.com/holdfast-io/holdfast/raftstore"
	"github.com/holdfast-io/holdfast/raftstore/keyed"
	"github.com/holdfast-io/holdfast/stateserver/backend"
	"github.com/holdfast-io/holdfast/stateserver/snapshots"
)

// Working state of backends on hosts is read from the node that has it, and what a
// checkpoint has from its files.

// place is where the state of a subtask is.
type place struct {
	view coordinator.SubtaskView
	node string // "": nowhere now
}

// placeOf finds the node that has the state of a subtask.
func (s *Server) placeOf(subtask uint64) (p place) {
	s.store.Read(func(m *coordinator.Machine, _ *keyed.Store) {
		p.view, _ = m.Subtask(subtask)
	})
	p.node = p.view.NodeID
	if !p.view.CheckpointsEnabled {
		p.node = p.view.Home.NodeID
	}
	return p
}

// readState asks whichever node has the state of a subtask.
func (s *Server) readState(ctx context.Context, r *internalv1.ReadStateRequest) (*internalv1.ReadStateResponse, error) {
	p := s.placeOf(r.SubtaskId)
	switch {
	case p.view.Attempt == 0 && p.node == "":
		return &internalv1.ReadStateResponse{Done: true}, nil // it never began
	case p.node == "":
		return nil, noStateNow()
	case p.node == s.store.ID():
		return s.states.read(ctx, r)
	}
	conn, err := s.peers.conn(p.node)
	if err != nil {
		return nil, noStateNow()
	}
	return internalv1.NewPeerServiceClient(conn).ReadState(ctx, r)
}

func noStateNow() error {
	return toStatus(coordinator.Failure(holdfastv1.ErrorReason_ERROR_REASON_OPERATOR_LOST,
		"no node has the working state of the subtask now: it waits for its operator, is being restored or has finished; ask again, or for a checkpoint"))
}

// ReadState implements internalv1.PeerServiceServer.
func (p *peerService) ReadState(ctx context.Context, r *internalv1.ReadStateRequest) (*internalv1.ReadStateResponse, error) {
	return p.s.states.read(ctx, r)
}

// read reads from a state of this node, between two frames.
func (m *hostStates) read(ctx context.Context, r *internalv1.ReadStateRequest) (out *internalv1.ReadStateResponse, err error) {
	h := m.find(r.SubtaskId)
	if h == nil {
		return nil, noStateNow()
	}
	var read error
	if err := h.ask(ctx, func(st backend.State) {
		if r.Page != nil {
			out, read = readPage(st, r)
		} else {
			out, read = h.readKeys(st, r)
		}
	}); err != nil {
		return nil, noStateNow()
	}
	if read != nil {
		return nil, invalidRequest("state", read.Error())
	}
	return out, nil
}

func readPage(st backend.State, r *internalv1.ReadStateRequest) (*internalv1.ReadStateResponse, error) {
	at := keyed.Cursor{KeyGroup: r.Page.KeyGroup, AfterKey: r.Page.AfterKey != nil, Key: r.Page.AfterKey}
	page, next, done, err := st.Scan(r.StateId, at, int(r.Page.Limit), int(r.Page.MaxBytes))
	if err != nil {
		return nil, err
	}
	out := &internalv1.ReadStateResponse{NextKeyGroup: next.KeyGroup, Done: done}
	if next.AfterKey {
		out.NextAfterKey = append([]byte{}, next.Key...)
	}
	keys, values := page.Keys, page.Values
	for i, g := range page.KeyGroups {
		k, v := page.KeyLengths[i], page.ValueLengths[i]
		out.Rows = append(out.Rows, &internalv1.StateRow{KeyGroup: g, Key: keys[:k], Value: values[:v], Found: true})
		keys, values = keys[k:], values[v:]
	}
	return out, nil
}

// readKeys looks keys up; where sections name their key group, in all of them.
func (h *hosted) readKeys(st backend.State, r *internalv1.ReadStateRequest) (*internalv1.ReadStateResponse, error) {
	out := &internalv1.ReadStateResponse{Done: true}
	var lengths []uint32
	var packed []byte
	for _, k := range r.Keys {
		lengths, packed = append(lengths, uint32(len(k))), append(packed, k...)
		out.Rows = append(out.Rows, &internalv1.StateRow{Key: k})
	}
	groups := []int64{keyed.ByHash}
	if h.space.CoPartitioned {
		groups = nil
		for g := h.space.Start; g < h.space.End; g++ {
			groups = append(groups, int64(g))
		}
	}
	now := h.m.s.clock.now().UnixMilli()
	for _, g := range groups {
		vals := keyed.Values{NowMs: now}
		if err := st.Get(r.StateId, g, lengths, packed, &vals, now); err != nil {
			return nil, err
		}
		rest := vals.Values
		for i, found := range vals.Found {
			n := vals.ValueLengths[i]
			if found == 1 {
				out.Rows[i].Found, out.Rows[i].Value = true, rest[:n]
			}
			rest = rest[n:]
		}
	}
	return out, nil
}

// hostReader reads a state of a job whose backend is on hosts.
type hostReader struct {
	s          *Server
	jobID      string
	v          coordinator.StateView
	checkpoint uint64
	snapshot   *coordinator.Snapshot // of checkpoint, nil for the live state
}

// get looks keys up, in the subtasks that may have them.
func (h *hostReader) get(ctx context.Context, keys [][]byte) ([]*holdfastv1.StateEntry, error) {
	out := make([]*holdfastv1.StateEntry, len(keys))
	for i, k := range keys {
		out[i] = &holdfastv1.StateEntry{Key: k}
	}
	for _, st := range h.v.Subtasks {
		var mine []int
		var asked [][]byte
		for i, k := range keys {
			if g := keyed.KeyGroup(k, max(h.v.KeyGroups, 1)); h.v.ByPartition || g >= st.Start && g < st.End {
				mine, asked = append(mine, i), append(asked, k)
			}
		}
		if len(mine) == 0 {
			continue
		}
		rows, err := h.rows(ctx, st, asked)
		if err != nil {
			return nil, err
		}
		for i, row := range rows {
			if row.Found {
				out[mine[i]].Found, out[mine[i]].Value = true, row.Value
			}
		}
	}
	return out, nil
}

func (h *hostReader) rows(ctx context.Context, st coordinator.SubtaskRange, keys [][]byte) ([]*internalv1.StateRow, error) {
	if h.snapshot != nil {
		return h.rowsOfSnapshot(ctx, st, keys)
	}
	r, err := h.s.readState(ctx, &internalv1.ReadStateRequest{SubtaskId: st.ID, StateId: h.v.StateID, Keys: keys})
	return r.GetRows(), err
}

// page reads a page of one subtask.
func (h *hostReader) page(ctx context.Context, st coordinator.SubtaskRange, at keyed.Cursor, limit, maxBytes int) (page keyed.Page, next keyed.Cursor, done bool, err error) {
	if h.snapshot != nil {
		return h.pageOfSnapshot(ctx, st, at, limit, maxBytes)
	}
	p := &internalv1.StatePage{KeyGroup: at.KeyGroup, Limit: uint32(limit), MaxBytes: uint32(maxBytes)}
	if at.AfterKey {
		p.AfterKey = append([]byte{}, at.Key...)
	}
	r, err := h.s.readState(ctx, &internalv1.ReadStateRequest{SubtaskId: st.ID, StateId: h.v.StateID, Page: p})
	if err != nil {
		return page, next, false, err
	}
	for _, row := range r.Rows {
		page.Add(row.KeyGroup, row.Key, row.Value, maxBytes)
	}
	return page, keyed.Cursor{KeyGroup: r.NextKeyGroup, AfterKey: r.NextAfterKey != nil, Key: r.NextAfterKey}, r.Done, nil
}

// entries reads what a checkpoint has of a subtask.
func (h *hostReader) entries(ctx context.Context, st coordinator.SubtaskRange) (backend.Entries, error) {
	return h.s.states.snapshotEntries(ctx, h.snapshot, st.ID)
}

func (h *hostReader) rowsOfSnapshot(ctx context.Context, st coordinator.SubtaskRange, keys [][]byte) ([]*internalv1.StateRow, error) {
	out := make([]*internalv1.StateRow, len(keys))
	want := map[string][]int{}
	for i, k := range keys {
		out[i] = &internalv1.StateRow{Key: k}
		want[string(k)] = append(want[string(k)], i)
	}
	es, err := h.entries(ctx, st)
	if err != nil {
		return nil, readError(err)
	}
	defer es.Close()
	cfg, now := raftstore.KeyedState(h.v.StateID, h.v.Descriptor, 0), h.s.clock.now().UnixMilli()
	for es.Next() {
		e := es.Entry()
		if e.StateID != h.v.StateID || len(want[string(e.Key)]) == 0 {
			continue
		}
		value, found := cfg.Visible(nil, append([]byte{}, e.Value...), now)
		for _, i := range want[string(e.Key)] {
			out[i] = &internalv1.StateRow{Key: keys[i], Value: value, Found: found}
		}
	}
	return out, readError(es.Err())
}

// pageOfSnapshot reads the entries of a subtask up to the end of a page.
func (h *hostReader) pageOfSnapshot(ctx context.Context, st coordinator.SubtaskRange, at keyed.Cursor, limit, maxBytes int) (page keyed.Page, next keyed.Cursor, done bool, err error) {
	es, err := h.entries(ctx, st)
	if err != nil {
		return page, next, false, readError(err)
	}
	defer es.Close()
	for es.Next() {
		e := es.Entry()
		if e.StateID != h.v.StateID || !behind(e, at) {
			continue
		}
		if len(page.KeyLengths) == limit || !page.Add(e.KeyGroup, e.Key, e.Value, maxBytes) {
			return page, page.Last(), false, nil
		}
	}
	return page, next, true, readError(es.Err())
}

func behind(e backend.Entry, at keyed.Cursor) bool {
	return e.KeyGroup > at.KeyGroup || e.KeyGroup == at.KeyGroup && (!at.AfterKey || string(e.Key) > string(at.Key))
}

func readError(err error) error {
	if err == nil {
		return nil
	}
	return toStatus(coordinator.Failure(holdfastv1.ErrorReason_ERROR_REASON_RESTORE_FAILED, "the checkpoint cannot be read: "+err.Error()))
}

// snapshotEntries reads what one subtask has in a completed checkpoint.
func (m *hostStates) snapshotEntries(ctx context.Context, snap *coordinator.Snapshot, subtask uint64) (backend.Entries, error) {
	space, ok := spaceIn(snap, subtask)
	if !ok || m.backends == nil {
		return nil, fmt.Errorf("checkpoint %d has nothing of subtask %d that this node can read", snap.Checkpoint.Id, subtask)
	}
	b, err := m.backends.Get(snap.Spec.StateBackend.Name)
	if err != nil {
		return nil, err
	}
	files, err := m.filesOf(ctx, snap.JobID, subtask, snap.Spec.Checkpoint, 0, 0)
	if err != nil {
		return nil, err
	}
	var handles []*holdfastv1.StateHandle
	for _, a := range snap.Checkpoint.Acks {
		if a.SubtaskId == subtask {
			for _, h := range coordinator.BackendParts(a.Handles) {
				handles = append(handles, proto.CloneOf(h))
			}
		}
	}
	if len(handles) == 0 {
		return snapshots.None{}, nil
	}
	return b.ReadSnapshot(ctx, backend.Spec{Name: fmt.Sprintf("%d-read", subtask), Space: space}, files, handles)
}

// onHosts returns the reader of a state whose backend is on hosts, nil for another.
func (t *stateService) onHosts(sel *holdfastv1.StateSelector) (*hostReader, error) {
	var h *hostReader
	var e *holdfastv1.Error
	t.s.store.Read(func(m *coordinator.Machine, _ *keyed.Store) {
		var v coordinator.StateView
		if v, e = m.StateOf(sel); e != nil || len(v.Subtasks) == 0 {
			return
		}
		st, _ := m.Subtask(v.Subtasks[0].ID)
		if !st.OnHost {
			return
		}
		h = &hostReader{s: t.s, jobID: st.JobID, v: v, checkpoint: sel.GetCheckpointId()}
		if h.checkpoint != 0 {
			h.snapshot, _ = m.SnapshotOf(st.JobID, h.checkpoint)
		}
	})
	switch {
	case e != nil:
		return nil, toStatus(e)
	case h != nil && h.checkpoint != 0 && h.snapshot == nil:
		return nil, toStatus(coordinator.Failure(holdfastv1.ErrorReason_ERROR_REASON_STATE_NOT_FOUND, fmt.Sprintf("checkpoint %d is not retained", h.checkpoint)))
	}
	return h, nil
}

func (h *hostReader) has(uint64) bool { return true }

// getAll answers a Get.
func (h *hostReader) getAll(ctx context.Context, r *holdfastv1.GetRequest) (*holdfastv1.GetResponse, error) {
	out := &holdfastv1.GetResponse{Type: h.v.Descriptor.GetType(), StateDescriptor: h.v.Descriptor}
	var err error
	if out.Entries, err = h.get(ctx, r.Keys); err != nil {
		return nil, err
	}
	size := 0
	for i, e := range out.Entries {
		if size += len(e.Value) + len(e.Key) + entryOverheadBytes; size > maxPageBytes {
			return nil, invalidRequest("keys", fmt.Sprintf("the values of the first %d keys take more than %d bytes; ask for fewer", i+1, maxPageBytes))
		}
	}
	return out, nil
}

// spaceIn is the keyed state of a subtask at a checkpoint.
func spaceIn(snap *coordinator.Snapshot, subtask uint64) (keyed.SpaceConfig, bool) {
	for _, v := range snap.Vertices {
		for i, st := range v.Subtasks {
			if st.ID == subtask {
				return raftstore.SpaceConfig(v.Spaces[i]), true
			}
		}
	}
	return keyed.SpaceConfig{}, false
}
