package stateserver

import (
	"context"
	"encoding/binary"
	"fmt"

	"github.com/holdfast-io/holdfast/coordinator"
	holdfastv1 "github.com/holdfast-io/holdfast/proto/holdfast/v1"
	"github.com/holdfast-io/holdfast/raftstore"
	"github.com/holdfast-io/holdfast/raftstore/keyed"
)

// Bounds of one answer of the state service.
const (
	defaultPage   = 1_000
	maxPage       = 10_000
	maxGetKeys    = 10_000
	maxPageBytes  = 2 << 20
	cursorVersion = 1
	// entryOverheadBytes is what an entry takes in a message beside key and value.
	entryOverheadBytes = 16
)

// stateService reads state for tools.
type stateService struct {
	holdfastv1.UnimplementedStateServiceServer
	s *Server
}

// Get implements holdfastv1.StateService.
func (t *stateService) Get(ctx context.Context, r *holdfastv1.GetRequest) (*holdfastv1.GetResponse, error) {
	if len(r.Keys) > maxGetKeys {
		return nil, invalidRequest("keys", fmt.Sprintf("%d keys, at most %d are allowed; send several Gets", len(r.Keys), maxGetKeys))
	}
	out := &holdfastv1.GetResponse{}
	if o, err := t.operatorState(ctx, r.State); err != nil {
		return nil, err
	} else if o != nil {
		return o.get(r.Keys)
	}
	if h, err := t.onHosts(r.State); err != nil {
		return nil, err
	} else if h != nil {
		return h.getAll(ctx, r)
	}
	var err error
	t.s.store.Read(func(m *coordinator.Machine, k *keyed.Store) {
		v, e := m.StateOf(r.State)
		if e != nil {
			err = toStatus(e)
			return
		}
		out.Type, out.StateDescriptor = v.Descriptor.GetType(), v.Descriptor
		size, now := 0, t.s.clock.now().UnixMilli()
		for _, key := range r.Keys {
			entry, e := getKey(k, v, r.State.CheckpointId, key, now)
			if e != nil {
				err = e
				return
			}
			out.Entries = append(out.Entries, entry)
			if size += len(entry.Value) + len(key) + entryOverheadBytes; size > maxPageBytes {
				err = invalidRequest("keys", fmt.Sprintf("the values of the first %d keys take more than %d bytes; ask for fewer", len(out.Entries), maxPageBytes))
				return
			}
		}
	})
	if err != nil {
		return nil, err
	}
	return out, nil
}

// getKey looks for a key in the subtask that owns its key group; where the key
// group is the source's partition, which the key does not tell, in all.
func getKey(k *keyed.Store, v coordinator.StateView, version uint64, key []byte, nowMs int64) (*holdfastv1.StateEntry, error) {
	group := keyed.KeyGroup(key, max(v.KeyGroups, 1))
	for _, st := range v.Subtasks {
		if v.ByPartition {
			for g := st.Start; g < st.End; g++ {
				if e, err := lookup(k, st.ID, version, v.StateID, int64(g), key, nowMs); err != nil || e.Found {
					return e, err
				}
			}
		} else if group >= st.Start && group < st.End {
			return lookup(k, st.ID, version, v.StateID, keyed.ByHash, key, nowMs)
		}
	}
	return &holdfastv1.StateEntry{Key: key}, nil
}

func lookup(k *keyed.Store, subtask, version uint64, state uint32, group int64, key []byte, nowMs int64) (*holdfastv1.StateEntry, error) {
	if !k.Has(subtask) {
		return &holdfastv1.StateEntry{Key: key}, nil // its splits are not known yet
	}
	vals := keyed.Values{NowMs: nowMs}
	if err := k.Get(subtask, version, state, group, []uint32{uint32(len(key))}, key, &vals); err != nil {
		return nil, invalidRequest("keys", err.Error())
	}
	return &holdfastv1.StateEntry{Key: key, Found: vals.Found[0] == 1, Value: vals.Values}, nil
}

// Scan implements holdfastv1.StateService.
func (t *stateService) Scan(ctx context.Context, r *holdfastv1.ScanRequest) (*holdfastv1.ScanResponse, error) {
	size := int(r.PageSize)
	switch {
	case size == 0:
		size = defaultPage
	case size > maxPage:
		return nil, invalidRequest("page_size", fmt.Sprintf("a page of %d entries, at most %d are allowed", size, maxPage))
	}
	cur, err := parseCursor(r.PageToken)
	if err != nil {
		return nil, err
	}
	if o, err := t.operatorState(ctx, r.State); err != nil {
		return nil, err
	} else if o != nil {
		return o.scan(r, cur, size)
	}
	out := &holdfastv1.ScanResponse{}
	if h, err := t.onHosts(r.State); err != nil {
		return nil, err
	} else if h != nil {
		out.Type, out.StateDescriptor = h.v.Descriptor.GetType(), h.v.Descriptor
		return out, scanPage(h.has, func(st coordinator.SubtaskRange, at keyed.Cursor, limit, maxBytes int) (keyed.Page, keyed.Cursor, bool, error) {
			return h.page(ctx, st, at, limit, maxBytes)
		}, h.v, r, cur, size, out, t.s.clock.now().UnixMilli())
	}
	t.s.store.Read(func(m *coordinator.Machine, k *keyed.Store) {
		v, e := m.StateOf(r.State)
		if e != nil {
			err = toStatus(e)
			return
		}
		out.Type, out.StateDescriptor = v.Descriptor.GetType(), v.Descriptor
		err = scanPage(k.Has, func(st coordinator.SubtaskRange, at keyed.Cursor, limit, maxBytes int) (keyed.Page, keyed.Cursor, bool, error) {
			page, next, done, err := k.Scan(st.ID, r.State.CheckpointId, v.StateID, at, limit, maxBytes)
			if err != nil {
				err = invalidRequest("page_token", err.Error())
			}
			return page, next, done, err
		}, v, r, cur, size, out, t.s.clock.now().UnixMilli())
	})
	if err != nil {
		return nil, err
	}
	return out, nil
}

// pageReader reads a page of one subtask.
type pageReader func(st coordinator.SubtaskRange, at keyed.Cursor, limit, maxBytes int) (keyed.Page, keyed.Cursor, bool, error)

// scanPage fills one page, going from subtask to subtask.
func scanPage(has func(subtask uint64) bool, scan pageReader, v coordinator.StateView, r *holdfastv1.ScanRequest, cur scanCursor, size int, out *holdfastv1.ScanResponse, nowMs int64) error {
	left, cfg := maxPageBytes, raftstore.KeyedState(v.StateID, v.Descriptor, 0)
	for i, st := range v.Subtasks {
		if uint64(i) < cur.subtask || !has(st.ID) {
			continue
		}
		if left <= 0 {
			out.NextPageToken = scanCursor{uint64(i), keyed.Cursor{}}.token()
			return nil
		}
		at := keyed.Cursor{}
		if uint64(i) == cur.subtask {
			at = cur.at
		}
		page, next, done, err := scan(st, at, size-len(out.Entries), left)
		if err != nil {
			return err
		}
		appendPage(out, page, r.KeysOnly, &cfg, nowMs)
		left -= len(page.Keys) + len(page.Values) + entryOverheadBytes*len(page.KeyLengths)
		switch {
		case !done:
			out.NextPageToken = scanCursor{uint64(i), next}.token()
			return nil
		case len(out.Entries) >= size && i+1 < len(v.Subtasks):
			out.NextPageToken = scanCursor{uint64(i + 1), keyed.Cursor{}}.token()
			return nil
		}
	}
	return nil
}

// appendPage adds the entries of a page that are not over.
func appendPage(out *holdfastv1.ScanResponse, p keyed.Page, keysOnly bool, cfg *keyed.StateConfig, nowMs int64) {
	keys, vals := p.Keys, p.Values
	for i := range p.KeyLengths {
		e := &holdfastv1.StateEntry{Key: keys[:p.KeyLengths[i]], Found: true}
		value, visible := cfg.Visible(nil, vals[:p.ValueLengths[i]], nowMs)
		if !keysOnly {
			e.Value = value
		}
		keys, vals = keys[p.KeyLengths[i]:], vals[p.ValueLengths[i]:]
		if visible {
			out.Entries = append(out.Entries, e)
		}
	}
}

// scanCursor is a place in a scan over all subtasks.
type scanCursor struct {
	subtask uint64
	at      keyed.Cursor
}

func (c scanCursor) token() []byte {
	b := []byte{cursorVersion}
	b = binary.AppendUvarint(b, c.subtask)
	b = binary.AppendUvarint(b, uint64(c.at.KeyGroup))
	if !c.at.AfterKey {
		return append(b, 0)
	}
	return append(append(b, 1), c.at.Key...)
}

func parseCursor(b []byte) (scanCursor, error) {
	if len(b) == 0 {
		return scanCursor{}, nil
	}
	bad := invalidRequest("page_token", "the page token is not one that this server gave; begin anew without one")
	if b[0] != cursorVersion {
		return scanCursor{}, bad
	}
	subtask, n := binary.Uvarint(b[1:])
	if n <= 0 {
		return scanCursor{}, bad
	}
	b = b[1+n:]
	group, n := binary.Uvarint(b)
	if n <= 0 || len(b) < n+1 || group > keyed.MaxNumGroups || b[n] > 1 {
		return scanCursor{}, bad
	}
	return scanCursor{subtask, keyed.Cursor{KeyGroup: uint32(group), AfterKey: b[n] == 1, Key: b[n+1:]}}, nil
}

func invalidRequest(field, message string) error { return toStatus(invalid(field, message)) }

func invalid(field, message string) *holdfastv1.Error {
	return coordinator.Failure(holdfastv1.ErrorReason_ERROR_REASON_INVALID_REQUEST, message, "field", field)
}
