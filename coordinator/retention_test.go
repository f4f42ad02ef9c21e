package coordinator

import (
	"fmt"
	"reflect"
	"slices"
	"testing"

	"google.golang.org/protobuf/proto"

	internalv1 "github.com/holdfast-io/holdfast/proto/holdfast/internalv1"
	holdfastv1 "github.com/holdfast-io/holdfast/proto/holdfast/v1"
)

// oneFile is a checkpoint of one new file a subtask.
func oneFile(token uint64) func(n, subtask uint64) []*holdfastv1.StateHandle {
	return func(n, subtask uint64) []*holdfastv1.StateHandle {
		return []*holdfastv1.StateHandle{file(sst(token, n, subtask, "a"), false)}
	}
}

// Invariant 12: the entry that subsumes a checkpoint decides what of it goes, and
// nothing that a newer one shares is among it.
func TestSubsume_SharedFilesStay(t *testing.T) {
	l, tok := onHosts(t, nil)
	first := l.checkpointed(tok, 0, oneFile(tok))
	l.deletions()
	second := l.checkpointed(tok, first, func(n, s uint64) []*holdfastv1.StateHandle {
		return []*holdfastv1.StateHandle{file(sst(tok, first, s, "a"), true), file(sst(tok, n, s, "b"), false)}
	})
	l.deletions("chk-1/")
	l.checkpointed(tok, second, func(n, s uint64) []*holdfastv1.StateHandle {
		if s == 1 {
			return []*holdfastv1.StateHandle{file(sst(tok, first, s, "a"), true)}
		}
		return []*holdfastv1.StateHandle{file(sst(tok, second, s, "b"), true)}
	})
	l.deletions("chk-1/", "chk-2/", sst(tok, second, 1, "b"), sst(tok, first, 2, "a"))
	l.must(deleted(&internalv1.FilesDeleted{Files: []string{"chk-1/", sst(tok, first, 2, "a"), "unknown"}}))
	l.must(deleted(&internalv1.FilesDeleted{Files: []string{"chk-1/"}}))
	l.deletions("chk-2/", sst(tok, second, 1, "b"))
}

// What is decided to go stands in the order of the acks, each file once, whoever else
// decided it before, and no longer than the bound.
func TestSubsume_DeletionsAreInOrder(t *testing.T) {
	j := &internalv1.Job{Spec: onDisk(counterSpec("count")), Deletions: []string{"shared/b", "chk-1/"}}
	c := &holdfastv1.Checkpoint{Id: 2, Acks: []*holdfastv1.SubtaskAck{
		{Handles: []*holdfastv1.StateHandle{file("shared/c", false), file("shared/b", false), inline("i", 1, 1)}},
		{Handles: []*holdfastv1.StateHandle{file("shared/a", false), file("shared/c", false), file("chk-2/own", false)}},
	}}
	addDeletions(j, c)
	addDeletions(j, c)
	if want := []string{"shared/b", "chk-1/", "shared/c", "shared/a", "chk-2/"}; !slices.Equal(j.Deletions, want) {
		t.Fatalf("got %v, want %v", j.Deletions, want)
	}
	addDeletions(j, manyFiles(MaxDeletions))
	if n := len(j.Deletions); n != MaxDeletions {
		t.Fatalf("%d files wait, the bound is %d", n, MaxDeletions)
	}
}

func manyFiles(n int) *holdfastv1.Checkpoint {
	a := &holdfastv1.SubtaskAck{}
	for i := range n {
		a.Handles = append(a.Handles, &holdfastv1.StateHandle{File: fmt.Sprint(SharedDir, i)})
	}
	return &holdfastv1.Checkpoint{Id: 3, Acks: []*holdfastv1.SubtaskAck{a}}
}

// BenchmarkSubsume_ManyFiles is one Apply that fills the list.
func BenchmarkSubsume_ManyFiles(b *testing.B) {
	c := manyFiles(MaxDeletions)
	for b.Loop() {
		addDeletions(&internalv1.Job{Spec: onDisk(counterSpec("count"))}, c)
	}
}

func TestSubsume_RetainsTheNumber(t *testing.T) {
	l, tok := onHosts(t, func(s *holdfastv1.JobSpec) { s.Checkpoint.NumRetained = 2 })
	for range 3 {
		l.checkpointed(tok, 0, oneFile(tok))
	}
	l.deletions("chk-1/", sst(tok, 1, 1, "a"), sst(tok, 1, 2, "a"))
}

// The record of a job does not grow with the checkpoints that it had.
func TestSubsume_RecordIsBounded(t *testing.T) {
	l, tok := onHosts(t, nil)
	size := func() int { return proto.Size(l.m.byID["job"]) }
	after := 0
	for i := range 100 {
		l.checkpointed(tok, 0, func(n, s uint64) (out []*holdfastv1.StateHandle) {
			for k := range 50 {
				out = append(out, file(sst(tok, n, s, fmt.Sprint("f", k)), false))
			}
			return append(out, inline("i", 3, 1, 2, 3))
		})
		var files []string
		for _, d := range l.m.Deletions() {
			files = append(files, d.Files...)
		}
		l.must(deleted(&internalv1.FilesDeleted{Files: files}))
		if i == 20 {
			after = size()
		}
	}
	if got := size(); got > after+200 {
		t.Fatalf("the record has %d bytes after 20 checkpoints and %d after 100", after, got)
	}
}

// Flink's retention: what stays when a job ends.
func TestEnd_Retention(t *testing.T) {
	const (
		none      = holdfastv1.CheckpointRetention_CHECKPOINT_RETENTION_NO_EXTERNALIZED_CHECKPOINTS
		deleteOn  = holdfastv1.CheckpointRetention_CHECKPOINT_RETENTION_DELETE_ON_CANCELLATION
		canceled  = holdfastv1.JobStatus_JOB_STATUS_CANCELED
		failed    = holdfastv1.JobStatus_JOB_STATUS_FAILED
		finished  = holdfastv1.JobStatus_JOB_STATUS_FINISHED
		everybody = "everything"
	)
	for _, c := range []struct {
		retention holdfastv1.CheckpointRetention
		end       holdfastv1.JobStatus
		stays     bool
	}{
		{none, canceled, false}, {none, failed, false}, {none, finished, false},
		{deleteOn, canceled, false}, {deleteOn, failed, true}, {deleteOn, finished, false},
		{retain, canceled, true}, {retain, failed, true}, {retain, finished, false},
	} {
		t.Run(fmt.Sprint(c.retention, c.end), func(t *testing.T) {
			l, tok := onHosts(t, func(s *holdfastv1.JobSpec) {
				s.Checkpoint.Retention, s.RestartStrategy = c.retention, noRestart()
			})
			l.checkpointed(tok, 0, oneFile(tok))
			n := l.checkpointed(tok, 0, oneFile(tok))
			l.must(begin("job"))
			l.must(ackOnHost(hostAck(1, tok, n+1, 0, file(sst(tok, n+1, 1, "late"), false))))
			switch c.end {
			case canceled:
				l.must(cancel("job"))
			case failed:
				l.must(fail(1, tok, holdfastv1.ErrorReason_ERROR_REASON_USER_CODE, 5))
			case finished:
				l.must(finishOnHost(1, tok))
				l.must(finishOnHost(2, tok))
			}
			l.status(c.end)
			if !c.stays {
				l.deletions(everybody)
				if l.m.Checkpoint("job", n).Retained || len(l.m.Exports()) != 0 || !outstanding(l.m.byID["job"]) {
					t.Fatal("something of the job stays")
				}
				l.must(deleted(&internalv1.FilesDeleted{Directory: true}))
				l.deletions()
				return
			}
			l.deletions("chk-1/", sst(tok, 1, 1, "a"), sst(tok, 1, 2, "a"))
			if x := l.m.Exports(); len(x) != 1 || x[0].CheckpointID != n {
				t.Fatalf("exports: %v", x)
			}
			if _, ok := l.m.SnapshotOf("job", n); !ok {
				t.Fatal("nothing to write the metadata from")
			}
			l.must(exported(n, false, "file:///mnt/chk/job/chk-2", nil))
			if c := l.m.Checkpoint("job", n); !c.Retained || c.ExternalPath != "file:///mnt/chk/job/chk-2" {
				t.Fatalf("the newest: %v", c)
			}
			if len(l.m.Exports()) != 0 || len(l.m.byID["job"].History[1].Acks[0].Handles) != 0 {
				t.Fatal("handles stay in the record, though the metadata has them")
			}
		})
	}
}

// A job that was canceled before its first checkpoint leaves nothing.
func TestEnd_NothingToRetain(t *testing.T) {
	l, _ := onHosts(t, func(s *holdfastv1.JobSpec) { s.Checkpoint.Retention = retain })
	l.must(cancel("job"))
	l.deletions("everything")
}

// An export is recorded once; one that comes late goes with its checkpoint.
func TestExport_OfACheckpoint(t *testing.T) {
	l, tok := onHosts(t, nil)
	l.refused(exported(1, false, "p", nil), holdfastv1.ErrorReason_ERROR_REASON_CHECKPOINT_NOT_FOUND)
	n := l.checkpointed(tok, 0, oneFile(tok))
	l.refused(exported(n, false, "", nil), invalidReason)
	l.refused(exported(n, true, "p", nil), invalidReason)
	down := Failure(holdfastv1.ErrorReason_ERROR_REASON_STORAGE_UNAVAILABLE, "down")
	l.must(exported(n, false, "", down))
	if x := l.m.Exports(); len(x) != 1 || l.m.Checkpoint("job", n).ExportError == nil {
		t.Fatalf("one that failed is due again: %v", x)
	}
	l.must(exported(n, false, "first", nil))
	l.must(exported(n, false, "second", nil))
	if c := l.m.Checkpoint("job", n); c.ExternalPath != "first" || c.ExportError != nil {
		t.Fatalf("checkpoint: %v", c)
	}
	late := l.checkpointed(tok, 0, oneFile(tok))
	l.checkpointed(tok, 0, oneFile(tok))
	l.must(deleted(&internalv1.FilesDeleted{Files: l.m.Deletions()[0].Files}))
	l.must(exported(late, false, "p", nil))
	l.deletions("chk-2/")
}

// The state of memory stays frozen until what a person was promised is written.
func TestEnd_MemoryWaitsForItsExport(t *testing.T) {
	l := newLog(t)
	spec := counterSpec("count")
	spec.Checkpoint.Directory, spec.Checkpoint.Retention = "s3://b/c", retain
	s, tok := l.running(spec)
	l.must(flush(s, tok, 1, "a"))
	n := l.must(begin("job")).CheckpointId
	l.must(ready(s, tok, 2, n, 101))
	l.must(cancel("job"))
	if l.keyed.versions[s][n]["a"] != 1 {
		t.Fatal("the version is gone before it is written")
	}
	l.deletions()
	l.must(exported(n, false, "s3://b/c/job/chk-1", nil))
	if len(l.keyed.live) != 0 {
		t.Fatal("the state stays in the log behind its export")
	}
	l.deletions()
}

// Orphans: what nobody writes any more and nothing names.
func TestOrphans(t *testing.T) {
	l, tok := onHosts(t, nil)
	orphan := func(job, name string) bool { return len(l.m.Orphans(job, []string{name})) > 0 }
	n := l.checkpointed(tok, 0, oneFile(tok))
	old := l.must(begin("job")).CheckpointId
	l.must(abort("job", old))
	now := l.must(begin("job")).CheckpointId
	l.must(finishOnHost(2, tok, file(sst(tok, 0, 2, "end"), false)))
	for name, want := range map[string]bool{
		sst(tok, n, 1, "a"): false, sst(tok, n, 1, "other"): true, sst(tok, old, 1, "x"): true, sst(tok, now, 1, "x"): false,
		sst(tok, now+1, 1, "x"): false, sst(tok, 0, 1, "end"): false, sst(tok-1, 0, 1, "end"): true,
		sst(tok, 0, 2, "end"): false, sst(tok, 0, 2, "end2"): true, sst(tok, 0, 77, "x"): false,
		"chk-1/_metadata": false, "chk-2/x": true, "chk-3/x": false, "chk-9/x": false, "chk-x/x": false, "taskowned/x": false, "shared/x": false,
	} {
		if got := orphan("job", name); got != want {
			t.Errorf("%s: orphan %v, want %v", name, got, want)
		}
	}
	if orphan("unknown", "chk-2/x") {
		t.Error("of a job that is not known")
	}
	l.must(cancel("job"))
	if !orphan("job", sst(tok, n, 1, "a")) {
		t.Error("everything of a job that is deleted is an orphan")
	}
}

// Orphans of a job that ended and keeps a checkpoint: what its manifest does not name.
func TestOrphansOfEnded(t *testing.T) {
	l, tok := onHosts(t, func(s *holdfastv1.JobSpec) {
		s.Checkpoint.Retention = holdfastv1.CheckpointRetention_CHECKPOINT_RETENTION_RETAIN_ON_CANCELLATION
	})
	lost := l.checkpointed(tok, 0, oneFile(tok))
	n := l.checkpointed(tok, 0, oneFile(tok))
	needed := sst(tok, n, 1, "a")
	named := map[string]bool{needed: true, fmt.Sprintf("chk-%d/%d-%d-1-own", n, tok, n): true}
	gone := []string{sst(tok, n, 1, "other"), sst(tok, lost, 1, "x"), sst(tok, n+9, 1, "early"), fmt.Sprintf("chk-%d/x", lost), "chk-99/1-99-1-early", fmt.Sprintf("chk-%d/%d-%d-1-other", n, tok, n)}
	stays := []string{needed, fmt.Sprintf("chk-%d/%d-%d-1-own", n, tok, n), fmt.Sprintf("chk-%d/_metadata", n), fmt.Sprintf("chk-%d/0-0-uid", n), "shared/note.txt", "taskowned/1-1-1-x", "note"}
	all := append(slices.Clone(gone), stays...)
	if got := l.m.OrphansOfEnded("job", all, named); got != nil {
		t.Errorf("of a job that goes on: %v", got)
	}
	l.must(cancel("job"))
	if got := l.m.OrphansOfEnded("job", all, named); got != nil {
		t.Errorf("before the manifest is written: %v", got)
	}
	l.must(exported(n, false, "s3://b/c/job/chk-2", nil))
	l.must(&internalv1.Command{Command: &internalv1.Command_FilesDeleted{FilesDeleted: &internalv1.FilesDeleted{JobId: "job", Files: l.m.byID["job"].Deletions}}})
	if got := l.m.OrphansOfEnded("job", all, named); !slices.Equal(got, gone) {
		t.Errorf("got  %v\nwant %v", got, gone)
	}
	if d := l.m.JobDirectories(); len(d) != 1 || !slices.Equal(d[0].Kept, []uint64{n}) {
		t.Errorf("directories %v", d)
	}
}

// Ended jobs whose files are to be deleted are remembered longer, not for ever.
func TestTrimEnded_WaitsForDeletions(t *testing.T) {
	l := newLog(t)
	l.hosts()
	for i := range 3 * MaxEndedJobs {
		spec := onDisk(counterSpec(fmt.Sprint("job", i)))
		if i%2 == 0 {
			spec.Checkpoint.Directory = ""
		}
		l.must(submit(spec, "", fmt.Sprint(i)))
		l.must(cancel(fmt.Sprint(i)))
	}
	waiting := len(l.m.Deletions())
	if n := len(l.m.jobs); n > 2*MaxEndedJobs+1 || waiting < MaxEndedJobs-1 {
		t.Fatalf("%d jobs are remembered, %d wait for a deletion", n, waiting)
	}
}

// What people see of a checkpoint is all but its handles.
func TestWithoutHandles_IsTheRest(t *testing.T) {
	for _, m := range []proto.Message{&holdfastv1.Checkpoint{}, &holdfastv1.SubtaskAck{}} {
		fillMessage(m.ProtoReflect())
		c := &holdfastv1.Checkpoint{}
		if a, ok := m.(*holdfastv1.SubtaskAck); ok {
			c.Acks = []*holdfastv1.SubtaskAck{a}
		} else {
			c = m.(*holdfastv1.Checkpoint)
		}
		want := proto.CloneOf(c)
		dropHandles(want)
		if got := withoutHandles(c); !proto.Equal(got, want) || reflect.DeepEqual(c, want) {
			t.Fatalf("got  %v\nwant %v", got, want)
		}
	}
}
