package coordinator

import (
	"crypto/sha256"
	"slices"
	"testing"

	internalv1 "github.com/holdfast-io/holdfast/proto/holdfast/internalv1"
	holdfastv1 "github.com/holdfast-io/holdfast/proto/holdfast/v1"
)

const retain = holdfastv1.CheckpointRetention_CHECKPOINT_RETENTION_RETAIN_ON_CANCELLATION

// onDisk moves the state of a counter job to its host.
func onDisk(s *holdfastv1.JobSpec) *holdfastv1.JobSpec {
	s.StateBackend = &holdfastv1.StateBackend{Name: "rocksdb"}
	if s.Checkpoint != nil {
		s.Checkpoint.Directory = "file:///mnt/chk"
	}
	return s
}

func registerHost(node, incarnation, previous string, backends ...string) *internalv1.Command {
	return &internalv1.Command{Command: &internalv1.Command_RegisterNode{RegisterNode: &internalv1.RegisterNode{
		NodeId: node, Name: "name-" + node, ClientAddress: node + ":7070", Incarnation: incarnation, PreviousIncarnation: previous, StateBackends: backends}}}
}

// node registers a node with memory and the backends given.
func (l *log) node(id, incarnation string, backends ...string) {
	l.t.Helper()
	l.must(registerHost(id, incarnation, l.m.NodeOf(id).GetIncarnation(), append(backends, "memory")...))
}

func (l *log) hosts() {
	l.t.Helper()
	l.node("node", "inc", "filesystem", "rocksdb")
	l.node("other", "inc2", "filesystem", "rocksdb")
}

// targetOn is target on a process of a node.
func targetOn(subtask, token uint64, session, node, incarnation string) *internalv1.AssignTarget {
	t := target(subtask, token, session)
	t.NodeId, t.Incarnation = node, incarnation
	return t
}

// onHosts brings up a job on two subtasks of the backend rocksdb.
func onHosts(t *testing.T, change func(*holdfastv1.JobSpec)) (l *log, token uint64) {
	t.Helper()
	l = newLog(t)
	l.hosts()
	spec := onDisk(coPartitioned(counterSpec("count"), 2))
	if change != nil {
		change(spec)
	}
	l.must(submit(spec, "", "job"))
	l.must(splits("job", 0, 0))
	r := l.must(assign("job", targetOn(1, 0, "a", "node", "inc"), targetOn(2, 0, "b", "other", "inc2")))
	return l, r.FencingToken
}

// file is a handle of a file that an attempt wrote.
func file(name string, shared bool) *holdfastv1.StateHandle {
	sum := sha256.Sum256([]byte(name))
	return &holdfastv1.StateHandle{File: name, Size: 7, Sha256: sum[:], Format: "sst", Name: "n", Shared: shared}
}

// sst is a file that may be shared, written for checkpoint n.
func sst(token, n, subtask uint64, name string) string {
	return SharedDir + FilePrefix(token, n, subtask) + name
}

func inline(name string, size int, bytes ...byte) *holdfastv1.StateHandle {
	return &holdfastv1.StateHandle{Name: name, Size: uint64(size), Inline: bytes, Format: "inline"}
}

func hostAck(subtask, token, n, base uint64, handles ...*holdfastv1.StateHandle) *internalv1.AckCheckpoint {
	return &internalv1.AckCheckpoint{SubtaskId: subtask, FencingToken: token, CheckpointId: n, BaseCheckpointId: base,
		Handles: handles, StateBytes: 11, Positions: []*holdfastv1.Position{{Topic: "in", Partition: uint32(subtask - 1), NextOffset: int64(n)}}}
}

func ackOnHost(a *internalv1.AckCheckpoint) *internalv1.Command {
	return &internalv1.Command{Command: &internalv1.Command_AckCheckpoint{AckCheckpoint: a}}
}

func ackPart(subtask, token, n uint64, part uint32, handles ...*holdfastv1.StateHandle) *internalv1.Command {
	return &internalv1.Command{Command: &internalv1.Command_AckPart{AckPart: &internalv1.AckPart{
		SubtaskId: subtask, FencingToken: token, CheckpointId: n, Part: part, Handles: handles}}}
}

func deleted(d *internalv1.FilesDeleted) *internalv1.Command {
	d.JobId = "job"
	return &internalv1.Command{Command: &internalv1.Command_FilesDeleted{FilesDeleted: d}}
}

func exported(n uint64, savepoint bool, path string, e *holdfastv1.Error) *internalv1.Command {
	return &internalv1.Command{Command: &internalv1.Command_RecordExport{RecordExport: &internalv1.RecordExport{
		JobId: "job", CheckpointId: n, Savepoint: savepoint, Path: path, Error: e}}}
}

// checkpointed completes a checkpoint with the handles of each subtask.
func (l *log) checkpointed(token, base uint64, of func(n, subtask uint64) []*holdfastv1.StateHandle) uint64 {
	l.t.Helper()
	n := l.must(begin("job")).CheckpointId
	for s := uint64(1); s <= 2; s++ {
		l.must(ackOnHost(hostAck(s, token, n, base, of(n, s)...)))
	}
	l.outcome(n, holdfastv1.CheckpointStatus_CHECKPOINT_STATUS_COMPLETED)
	return n
}

func (l *log) outcome(n uint64, want holdfastv1.CheckpointStatus) *holdfastv1.Checkpoint {
	l.t.Helper()
	c := l.m.Checkpoint("job", n)
	if c.GetStatus() != want {
		l.t.Fatalf("index %d: checkpoint %d is %v, want %v", l.index, n, c.GetStatus(), want)
	}
	return c
}

// deletions compares what is to be deleted of the job.
func (l *log) deletions(want ...string) {
	l.t.Helper()
	var got []string
	for _, d := range l.m.Deletions() {
		got = append(got, d.Files...)
		if d.All {
			got = append(got, "everything")
		}
		if d.Restored != "" {
			got = append(got, d.Restored)
		}
	}
	slices.Sort(got)
	slices.Sort(want)
	if !slices.Equal(got, want) {
		l.t.Fatalf("index %d: to be deleted are %v, want %v", l.index, got, want)
	}
}
