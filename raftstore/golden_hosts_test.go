package raftstore

import (
	"bytes"
	"strings"
	"testing"

	"github.com/holdfast-io/holdfast/coordinator"
	internalv1 "github.com/holdfast-io/holdfast/proto/holdfast/internalv1"
	holdfastv1 "github.com/holdfast-io/holdfast/proto/holdfast/v1"
)

// onHosts is a job whose state is on its host: two checkpoints that share a file, of
// which one is subsumed and half deleted, an exported one, a savepoint that is still
// to be written, and a pending checkpoint with a part of an ack.
func (g *goldenLog) onHosts() {
	spec := goldenSpec("hosts", 10_000)
	spec.StateBackend = &holdfastv1.StateBackend{Name: "rocksdb"}
	c := spec.Checkpoint
	c.NumRetained, c.Directory, c.SavepointDirectory, c.Incremental = 1, "file:///mnt/checkpoints", "s3://bucket/savepoints", true
	c.Retention = holdfastv1.CheckpointRetention_CHECKPOINT_RETENTION_RETAIN_ON_CANCELLATION
	g.must(goldenSubmit(spec, nil))
	st := g.discover("hosts", true)
	first := g.begin("hosts")
	g.ackPart(st, first, 0, goldenHandle(st, first, false))
	g.ackCheckpoint(st, first, 0, 1, &holdfastv1.StateHandle{Name: "small", Size: 3, Inline: []byte("abc"), Format: "golden"})
	g.ackCheckpoint(st, first, 0, 0) // again
	g.recordExport("hosts", first, false, "file:///mnt/checkpoints/hosts/chk-1")
	second := g.begin("hosts")
	g.ackCheckpoint(st, second, first, 0, goldenHandle(st, first, true), goldenHandle(st, second, false))
	g.must(&internalv1.Command{Command: &internalv1.Command_FilesDeleted{FilesDeleted: &internalv1.FilesDeleted{JobId: "hosts", Files: []string{"chk-1/"}}}})
	savepoint := g.must(&internalv1.Command{Command: &internalv1.Command_BeginCheckpoint{BeginCheckpoint: &internalv1.BeginCheckpoint{
		JobId: "hosts", TimeMs: goldenTime, RequestId: "savepoint", Kind: holdfastv1.CheckpointKind_CHECKPOINT_KIND_SAVEPOINT,
	}}}).CheckpointId
	g.ackCheckpoint(st, savepoint, second, 0, goldenHandle(st, second, true))
	last := g.begin("hosts")
	g.ackPart(st, last, 0, goldenHandle(st, second, true))
}

// atHome is a job without checkpoints whose home is lost twice: with its process and
// by its silence.
func (g *goldenLog) atHome() {
	spec := goldenSpec("home", 0)
	spec.StateBackend = &holdfastv1.StateBackend{Name: "filesystem"}
	g.must(goldenSubmit(spec, nil))
	st := g.discover("home", false)
	g.must(&internalv1.Command{Command: &internalv1.Command_LoseHost{LoseHost: &internalv1.LoseHost{
		NodeId: strings.Repeat("1", 32), Incarnation: "first of n1", Through: g.index, TimeMs: goldenTime,
		Error: coordinator.Failure(holdfastv1.ErrorReason_ERROR_REASON_STATE_LOST, "silent"),
	}}})
	for _, accept := range []bool{false, true} { // the first is refused
		g.add(&internalv1.Command{Command: &internalv1.Command_ResumeJob{ResumeJob: &internalv1.ResumeJob{JobId: "home", AcceptGap: accept, TimeMs: goldenTime}}})
	}
	g.assign("home", st)
	for _, previous := range []string{"another", "first of n1"} { // the first is refused
		g.add(&internalv1.Command{Command: &internalv1.Command_RegisterNode{RegisterNode: &internalv1.RegisterNode{
			NodeId: strings.Repeat("1", 32), Name: "n1", ClientAddress: "n1:7070", Version: "0.1.0", MinClusterVersion: 1, MaxClusterVersion: coordinator.MaxVersion,
			Incarnation: "second of n1", PreviousIncarnation: previous, StateBackends: []string{"filesystem", "memory", "rocksdb"}, TimeMs: goldenTime,
		}}})
	}
}

// restored is a job that is being filled from a savepoint.
func (g *goldenLog) restored() {
	g.must(goldenSubmit(goldenSpec("restored", 10_000), &internalv1.Restore{
		From:           &holdfastv1.RestoreFrom{Path: "s3://bucket/savepoints/savepoint-1", ClaimMode: holdfastv1.ClaimMode_CLAIM_MODE_CLAIM},
		MetadataSha256: bytes.Repeat([]byte{7}, 32), CheckpointId: 41,
		Positions: []*internalv1.RestorePositions{{OperatorUid: "source", Positions: []*holdfastv1.Position{{Topic: "in", NextOffset: 77, LeaderEpoch: -1}}}},
	}))
	st := g.discover("restored", true)
	for _, chunk := range []uint64{1, 1, 3} { // once, again, and a gap
		g.add(&internalv1.Command{Command: &internalv1.Command_LoadState{LoadState: &internalv1.LoadState{
			SubtaskId: st.id, FencingToken: st.token, Chunk: chunk,
			Sections: []*holdfastv1.FlushSection{{StateId: 1, Ops: []byte{1}, Keys: []byte("k"), KeyLengths: []uint32{1}, Values: make([]byte, 8), ValueLengths: []uint32{8}}},
		}}})
	}
}

func goldenHandle(st goldenSubtask, written uint64, shared bool) *holdfastv1.StateHandle {
	return &holdfastv1.StateHandle{
		File: coordinator.SharedDir + coordinator.FilePrefix(st.token, written, st.id) + "a", Size: 100, Sha256: bytes.Repeat([]byte{9}, 32),
		Format: "golden", Name: "a", Shared: shared,
	}
}

func (g *goldenLog) ackPart(st goldenSubtask, checkpoint uint64, part uint32, handles ...*holdfastv1.StateHandle) {
	g.must(&internalv1.Command{Command: &internalv1.Command_AckPart{AckPart: &internalv1.AckPart{
		SubtaskId: st.id, FencingToken: st.token, CheckpointId: checkpoint, Part: part, Handles: handles,
	}}})
}

func (g *goldenLog) ackCheckpoint(st goldenSubtask, checkpoint, base uint64, parts uint32, handles ...*holdfastv1.StateHandle) {
	g.must(&internalv1.Command{Command: &internalv1.Command_AckCheckpoint{AckCheckpoint: &internalv1.AckCheckpoint{
		SubtaskId: st.id, FencingToken: st.token, CheckpointId: checkpoint, BaseCheckpointId: base, Parts: parts, Handles: handles,
		StateBytes: 100, FlushedBytes: 50, UploadedBytes: 100, TimeMs: goldenTime,
		Positions: []*holdfastv1.Position{{Topic: "in", NextOffset: int64(checkpoint), LeaderEpoch: -1}},
	}}})
}

func (g *goldenLog) recordExport(job string, checkpoint uint64, savepoint bool, path string) {
	g.must(&internalv1.Command{Command: &internalv1.Command_RecordExport{RecordExport: &internalv1.RecordExport{
		JobId: job, CheckpointId: checkpoint, Savepoint: savepoint, Path: path, TimeMs: goldenTime,
	}}})
}

// hostSeeds are the lives of the jobs of this file, each in a log of its own.
func hostSeeds(tb testing.TB) (out [][]*internalv1.Command) {
	tb.Helper()
	for _, life := range []func(*goldenLog){(*goldenLog).onHosts, (*goldenLog).atHome, (*goldenLog).restored} {
		g := &goldenLog{t: tb, f: newFSM()}
		g.must(wrap(tb, &internalv1.RegisterNode{
			NodeId: strings.Repeat("1", 32), Name: "n1", Incarnation: "first of n1", StateBackends: []string{"filesystem", "rocksdb"},
		}))
		life(g)
		out = append(out, g.commands)
	}
	return out
}
