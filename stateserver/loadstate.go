package stateserver

import (
	"context"
	"fmt"

	internalv1 "github.com/holdfast-io/holdfast/proto/holdfast/internalv1"
	holdfastv1 "github.com/holdfast-io/holdfast/proto/holdfast/v1"
	"github.com/holdfast-io/holdfast/raftstore"
	"github.com/holdfast-io/holdfast/raftstore/keyed"
	"github.com/holdfast-io/holdfast/stateserver/backend"
)

// loadBytes is about what the keys and values of one LoadState have.
const loadBytes = raftstore.MaxPayload / 2

// refused is an answer of the log that ends what was tried.
type refused struct{ e *holdfastv1.Error }

// Error implements error.
func (r refused) Error() string { return r.e.Message }

// fillLog fills the state of a memory job that begins from a snapshot, through the
// log. The same entries make the same chunks, so that it can be begun again: chunks
// that were taken change nothing.
func (m *hostStates) fillLog(ctx context.Context, sub *subject) error {
	l := &loader{m: m, ctx: ctx, sub: sub}
	err := m.readSnapshot(ctx, sub, func(es backend.Entries) error {
		for es.Next() {
			if err := l.add(es.Entry()); err != nil {
				return err
			}
		}
		return es.Err()
	})
	if err != nil {
		return err
	}
	return l.send(true)
}

// loader deals entries out to commands.
type loader struct {
	m        *hostStates
	ctx      context.Context
	sub      *subject
	chunk    uint64
	sections []*holdfastv1.FlushSection
	bytes    int
}

func (l *loader) add(e backend.Entry) error {
	size := len(e.Key) + len(e.Value) + opOverheadBytes
	if size > raftstore.MaxPayload-commandOverheadBytes {
		return fmt.Errorf("%w: state %d has a value of %d bytes, too large for the memory backend", backend.ErrDamaged, e.StateID, len(e.Value))
	}
	if l.bytes > 0 && l.bytes+size > loadBytes {
		if err := l.send(false); err != nil {
			return err
		}
	}
	l.bytes += size
	s := l.section(e)
	s.Ops = append(s.Ops, keyed.OpPut)
	s.KeyLengths, s.Keys = append(s.KeyLengths, uint32(len(e.Key))), append(s.Keys, e.Key...)
	s.ValueLengths, s.Values = append(s.ValueLengths, uint32(len(e.Value))), append(s.Values, e.Value...)
	return nil
}

// section is the one that an entry goes into: the last, or a new one.
func (l *loader) section(e backend.Entry) *holdfastv1.FlushSection {
	byPartition := l.sub.space.CoPartitioned
	if n := len(l.sections); n > 0 {
		if s := l.sections[n-1]; s.StateId == e.StateID && (!byPartition || s.GetKeyGroup() == e.KeyGroup) {
			return s
		}
	}
	s := &holdfastv1.FlushSection{StateId: e.StateID}
	if byPartition {
		group := e.KeyGroup
		s.KeyGroup = &group
	}
	l.sections = append(l.sections, s)
	return s
}

// send proposes a chunk and waits for it.
func (l *loader) send(last bool) error {
	l.chunk++
	_, index, e := l.m.s.fwd.do(l.ctx, &internalv1.Command{Command: &internalv1.Command_LoadState{LoadState: &internalv1.LoadState{
		SubtaskId: l.sub.view.ID, FencingToken: l.sub.view.Token, Chunk: l.chunk, Sections: l.sections, Last: last,
	}}})
	l.sections, l.bytes = nil, 0
	if e != nil {
		return refused{e}
	}
	// The client reads on this node, which must have it all.
	return l.m.s.store.WaitApplied(l.ctx, index)
}
