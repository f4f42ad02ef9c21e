package raftstore

import (
	"bytes"
	"context"
	"encoding/binary"
	"fmt"
	"io"
	"testing"

	"google.golang.org/protobuf/proto"

	"github.com/holdfast-io/holdfast/coordinator"
	internalv1 "github.com/holdfast-io/holdfast/proto/holdfast/internalv1"
	holdfastv1 "github.com/holdfast-io/holdfast/proto/holdfast/v1"
	"github.com/holdfast-io/holdfast/raftstore/keyed"
)

// fsmLog feeds state machines with the same commands.
type fsmLog struct {
	tb    testing.TB
	index uint64
}

func (l *fsmLog) apply(f *fsm, cmds ...*internalv1.Command) []*internalv1.CommandResult {
	l.tb.Helper()
	var entries []Entry
	for _, c := range cmds {
		b, err := proto.Marshal(c)
		if err != nil {
			l.tb.Fatal(err)
		}
		l.index++
		entries = append(entries, Entry{Index: l.index, Term: 1, Type: CommandType, Payload: b})
	}
	rs, err := f.ApplyBatch(entries)
	if err != nil {
		l.tb.Fatal(err)
	}
	var out []*internalv1.CommandResult
	for i, r := range rs {
		cr := r.(*internalv1.CommandResult)
		if cr.Error != nil {
			l.tb.Fatalf("%v: %v", cmds[i], cr.Error)
		}
		out = append(out, cr)
	}
	return out
}

// counterJob brings up a counter job with checkpoints and returns its token.
func (l *fsmLog) counterJob(f *fsm) uint64 {
	spec := &holdfastv1.JobSpec{
		Name: "count", Checkpoint: &holdfastv1.CheckpointConfig{IntervalMs: 1000},
		StateBackend: &holdfastv1.StateBackend{MemoryMaxSize: 64 << 20},
		Operators: []*holdfastv1.Operator{
			{Uid: "source", Parallelism: 1, Source: &holdfastv1.SourceSpec{Connector: "datagen"}},
			{Uid: "counter", Parallelism: 1,
				Inputs: []*holdfastv1.OperatorInput{{OperatorUid: "source", Partitioning: holdfastv1.Partitioning_PARTITIONING_HASH}},
				States: []*holdfastv1.StateDescriptor{{Name: "count", Kind: holdfastv1.StateKind_STATE_KIND_VALUE, Type: "int64"}}},
		},
	}
	l.apply(f,
		&internalv1.Command{Command: &internalv1.Command_SubmitJob{SubmitJob: &internalv1.SubmitJob{Spec: spec, JobId: "job"}}},
		&internalv1.Command{Command: &internalv1.Command_RecordSplits{RecordSplits: &internalv1.RecordSplits{
			JobId: "job", OperatorUid: "source", Splits: []*holdfastv1.Split{{StartOffset: proto.Int64(0)}}}}})
	r := l.apply(f, &internalv1.Command{Command: &internalv1.Command_Assign{Assign: &internalv1.Assign{
		JobId: "job", Targets: []*internalv1.AssignTarget{{SubtaskId: 1, NodeId: "n", SessionId: "s", InstanceId: "i"}}}}})
	return r[0].FencingToken
}

// flushOf makes a flush of n PUTs to keys first, first+1, ….
func flushOf(token, seq uint64, first, n int) *internalv1.Command {
	s := &holdfastv1.FlushSection{StateId: 1}
	for i := range n {
		s.Ops = append(s.Ops, keyed.OpPut)
		s.KeyLengths = append(s.KeyLengths, 16)
		s.Keys = fmt.Appendf(s.Keys, "key-%012d", first+i)
		s.ValueLengths = append(s.ValueLengths, 8)
		s.Values = binary.LittleEndian.AppendUint64(s.Values, seq)
	}
	return &internalv1.Command{Command: &internalv1.Command_Flush{Flush: &internalv1.Flush{
		SubtaskId: 1, FencingToken: token, Seq: seq, Sections: []*holdfastv1.FlushSection{s}}}}
}

func beginAndReady(token, seq, n uint64) []*internalv1.Command {
	return []*internalv1.Command{
		{Command: &internalv1.Command_BeginCheckpoint{BeginCheckpoint: &internalv1.BeginCheckpoint{JobId: "job"}}},
		{Command: &internalv1.Command_Ready{Ready: &internalv1.Ready{SubtaskId: 1, FencingToken: token, Seq: seq, CheckpointId: n}}},
	}
}

func (l *fsmLog) hash(f *fsm) string {
	l.tb.Helper()
	l.apply(f, &internalv1.Command{Command: &internalv1.Command_MarkHash{MarkHash: &internalv1.MarkHash{}}})
	h, err := f.stateHash(context.Background(), l.index)
	if err != nil {
		l.tb.Fatal(err)
	}
	return h
}

// Invariant 8: a snapshot is the state of its moment, a restored node goes on
// like one that replayed the log, and their hashes are equal.
func TestFSM_SnapshotRestoreGoesOnAlike(t *testing.T) {
	l := &fsmLog{tb: t}
	a := newFSM()
	tok := l.counterJob(a)
	l.apply(a, flushOf(tok, 1, 0, 500), flushOf(tok, 2, 100, 50))
	l.apply(a, beginAndReady(tok, 3, 1)...)
	v, err := a.Snapshot()
	if err != nil {
		t.Fatal(err)
	}
	at := l.index
	l.apply(a, flushOf(tok, 4, 400, 300)) // after the view, before it is written
	var buf bytes.Buffer
	if err := v.Write(&buf); err != nil {
		t.Fatal(err)
	}
	v.Release()

	b := newFSM()
	if err := b.Restore(bytes.NewReader(buf.Bytes())); err != nil {
		t.Fatal(err)
	}
	if b.restored != at {
		t.Fatalf("restored index %d, want %d", b.restored, at)
	}
	l.index = at
	l.apply(b, flushOf(tok, 4, 400, 300))
	rest := append([]*internalv1.Command{flushOf(tok, 5, 0, 10)}, beginAndReady(tok, 6, 2)...)
	mark := l.index
	l.apply(a, rest...)
	ha := l.hash(a)
	l.index = mark
	l.apply(b, rest...)
	if hb := l.hash(b); ha != hb {
		t.Fatalf("hashes differ: %s replayed, %s restored", ha, hb)
	}
}

// A cut or changed snapshot is refused and the old state stands.
func TestFSM_DamagedSnapshotLeavesTheOldState(t *testing.T) {
	l := &fsmLog{tb: t}
	a := newFSM()
	tok := l.counterJob(a)
	l.apply(a, flushOf(tok, 1, 0, 100))
	v, _ := a.Snapshot()
	var buf bytes.Buffer
	if err := v.Write(&buf); err != nil {
		t.Fatal(err)
	}
	for n := range buf.Len() {
		b := newFSM()
		if err := b.Restore(bytes.NewReader(buf.Bytes()[:n])); err == nil {
			t.Fatalf("a snapshot cut at byte %d of %d was restored", n, buf.Len())
		}
		if got := len(b.machine.Summaries()); got != 0 {
			t.Fatalf("cut at %d: a part was swapped in", n)
		}
	}
	bad := io.MultiReader(bytes.NewReader(buf.Bytes()), &failing{})
	if err := a.Restore(bad); err == nil {
		t.Fatal("a snapshot whose checksum failed at its end was restored")
	}
	l.apply(a, flushOf(tok, 2, 0, 1))
}

type failing struct{}

func (*failing) Read([]byte) (int, error) { return 0, ErrBadSnapshot }

// Readers see whole batches while entries are applied and a view is written.
func TestFSM_ReadersAndViewsBesideApply(t *testing.T) {
	l := &fsmLog{tb: t}
	f := newFSM()
	tok := l.counterJob(f)
	l.apply(f, flushOf(tok, 1, 0, 256))
	stop, done := make(chan struct{}), make(chan error, 2)
	go func() {
		for {
			select {
			case <-stop:
				done <- nil
				return
			default:
			}
			f.read(func(m *coordinator.Machine, k *keyed.Store) {
				v, _ := m.Subtask(1)
				var vals keyed.Values
				if err := k.Get(1, 0, 1, keyed.ByHash, []uint32{16}, []byte("key-000000000007"), &vals); err != nil {
					done <- err
				} else if got := binary.LittleEndian.Uint64(vals.Values); got != v.LastSeq {
					done <- fmt.Errorf("value %d at seq %d", got, v.LastSeq)
				}
			})
		}
	}()
	for seq := uint64(2); seq < 200; seq++ {
		if seq%20 == 0 {
			v, _ := f.Snapshot()
			go func() {
				defer v.Release()
				if err := v.Write(io.Discard); err != nil {
					t.Error(err)
				}
			}()
		}
		l.apply(f, flushOf(tok, seq, 0, 256))
	}
	close(stop)
	if err := <-done; err != nil {
		t.Fatal(err)
	}
}

func TestFSM_GarbageEntryHalts(t *testing.T) {
	for name, e := range map[string]Entry{
		"type":    {Index: 1, Type: 99},
		"payload": {Index: 1, Type: CommandType, Payload: []byte{0xff}},
		"empty":   {Index: 1, Type: CommandType},
	} {
		if _, err := newFSM().ApplyBatch([]Entry{e}); err == nil {
			t.Errorf("%s: an entry that cannot be understood was skipped", name)
		}
	}
}

// A refused flush leaves nothing behind, whatever part of it would have fitted.
func TestFSM_RefusedFlushAppliesNothing(t *testing.T) {
	for name, spoil := range map[string]func(*holdfastv1.FlushSection){
		"unknown state": func(s *holdfastv1.FlushSection) { s.StateId = 9 },
		"lengths":       func(s *holdfastv1.FlushSection) { s.KeyLengths[3] = 17 },
		"type":          func(s *holdfastv1.FlushSection) { s.Ops[9] = 77 },
	} {
		l := &fsmLog{tb: t}
		f := newFSM()
		tok := l.counterJob(f)
		l.apply(f, flushOf(tok, 1, 0, 10))
		before := f.keyed.store.Hash()
		c := flushOf(tok, 2, 0, 10)
		spoil(c.GetFlush().Sections[0])
		b, err := proto.Marshal(c)
		if err != nil {
			t.Fatal(err)
		}
		rs, err := f.ApplyBatch([]Entry{{Index: l.index + 1, Type: CommandType, Payload: b}})
		if err != nil || rs[0].(*internalv1.CommandResult).Error == nil {
			t.Fatalf("%s: %v %v", name, rs, err)
		}
		if f.keyed.store.Hash() != before {
			t.Fatalf("%s: a part was applied", name)
		}
	}
}

// BenchmarkFramePath is the path of a Flush of 1,024 changes without Raft and
// network: the client's message encoded, decoded by the host, put into a
// command, decoded and applied by the state machine, and its ack encoded and
// decoded. Aim: 3 million changes a core-second, no allocation a change.
func BenchmarkFramePath(b *testing.B) {
	const changes, keys = 1024, 100 * 1024
	l := &fsmLog{tb: b}
	f := newFSM()
	tok := l.counterJob(f)
	frames := make([]*holdfastv1.OperatorMessage, keys/changes)
	for i := range frames {
		c := flushOf(tok, 1, i*changes, changes).GetFlush()
		frames[i] = &holdfastv1.OperatorMessage{Message: &holdfastv1.OperatorMessage_Flush{Flush: &holdfastv1.Flush{FencingToken: tok, Sections: c.Sections}}}
	}
	var up, cmd, down []byte
	b.ReportAllocs()
	seq := uint64(0)
	for b.Loop() {
		seq++
		frame := frames[seq%uint64(len(frames))]
		frame.GetFlush().Seq = seq
		up, _ = proto.MarshalOptions{}.MarshalAppend(up[:0], frame)
		var m holdfastv1.OperatorMessage
		if err := proto.Unmarshal(up, &m); err != nil {
			b.Fatal(err)
		}
		fl := m.GetFlush()
		cmd, _ = proto.MarshalOptions{}.MarshalAppend(cmd[:0], &internalv1.Command{Command: &internalv1.Command_Flush{Flush: &internalv1.Flush{
			SubtaskId: 1, FencingToken: tok, Seq: fl.Seq, Sections: fl.Sections}}})
		l.index++
		rs, err := f.ApplyBatch([]Entry{{Index: l.index, Type: CommandType, Payload: cmd}})
		if err != nil || rs[0].(*internalv1.CommandResult).Error != nil {
			b.Fatal(err, rs)
		}
		down, _ = proto.MarshalOptions{}.MarshalAppend(down[:0], &holdfastv1.HostMessage{Message: &holdfastv1.HostMessage_FlushAck{
			FlushAck: &holdfastv1.FlushAck{FencingToken: tok, ThroughSeq: seq}}})
		var ack holdfastv1.HostMessage
		if err := proto.Unmarshal(down, &ack); err != nil {
			b.Fatal(err)
		}
	}
	b.ReportMetric(float64(b.N)*changes/b.Elapsed().Seconds(), "changes/s")
}
