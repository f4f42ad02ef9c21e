package coordinator

import (
	"testing"

	internalv1 "github.com/holdfast-io/holdfast/proto/holdfast/internalv1"
	holdfastv1 "github.com/holdfast-io/holdfast/proto/holdfast/v1"
)

const savedAt = "file:///mnt/sp/savepoint-1"

func submitFrom(spec *holdfastv1.JobSpec, id string, mode holdfastv1.ClaimMode, change func(*internalv1.Restore)) *internalv1.Command {
	c := submit(spec, "", id)
	r := &internalv1.Restore{
		From: &holdfastv1.RestoreFrom{Path: savedAt, ClaimMode: mode}, MetadataSha256: make([]byte, 32), CheckpointId: 41,
		Positions: []*internalv1.RestorePositions{
			{OperatorUid: "other", Positions: []*holdfastv1.Position{{Topic: "in", NextOffset: 5}}},
			{OperatorUid: "source", Positions: []*holdfastv1.Position{{Topic: "in", NextOffset: 77}}},
		},
	}
	if change != nil {
		change(r)
	}
	c.GetSubmitJob().Restore = r
	return c
}

func load(subtask, token, chunk uint64, last bool, keys ...string) *internalv1.Command {
	c := &internalv1.LoadState{SubtaskId: subtask, FencingToken: token, Chunk: chunk, Last: last}
	for _, k := range keys {
		c.Sections = append(c.Sections, &holdfastv1.FlushSection{StateId: 1, Keys: []byte(k)})
	}
	return &internalv1.Command{Command: &internalv1.Command_LoadState{LoadState: c}}
}

func (l *log) offsets(subtask uint64, want ...int64) {
	l.t.Helper()
	for i, s := range l.m.AssignFrame(subtask).Splits {
		if s.GetStartOffset() != want[i] {
			l.t.Fatalf("index %d: split %d begins at %v, want %d", l.index, i, s, want[i])
		}
	}
}

// The restore is the restart point until a checkpoint completes. A partition that it
// does not have begins where discovery said.
func TestRestore_UntilTheFirstCheckpoint(t *testing.T) {
	l := newLog(t)
	l.must(submitFrom(counterSpec("count"), "job", 0, nil))
	l.must(splits("job", 100, 200))
	tok := l.must(assign("job", target(1, 0, "a"))).FencingToken
	l.offsets(1, 77, 200)
	if a := l.m.AssignFrame(1); a.RestoredCheckpointId != 41 || a.LatestCompletedId != 0 {
		t.Fatalf("assign: %v", a)
	}
	l.must(load(1, tok, 1, true, "a"))
	tok = l.must(assign("job", target(1, tok, "b"))).FencingToken
	l.count(1, "a", 0)
	l.refused(begin("job"), holdfastv1.ErrorReason_ERROR_REASON_JOB_STATE)
	l.must(load(1, tok, 1, true, "a"))
	n := l.must(begin("job")).CheckpointId
	if n != 42 {
		t.Fatalf("the first checkpoint has the id %d, want that behind the restored one", n)
	}
	l.must(ready(1, tok, 1, n, 150))
	l.must(assign("job", target(1, tok, "c")))
	l.count(1, "a", 1)
	l.offsets(1, 150, 200)
	if r, ok := l.m.RestorePointOf(1); !ok || r.From != nil || r.CheckpointID != n {
		t.Fatalf("restore point: %+v", r)
	}
}

// Invariant 6: chunks count once, in order, for one attempt, and nothing else is
// applied before the last.
func TestLoadState_Rules(t *testing.T) {
	l := newLog(t)
	l.must(submitFrom(counterSpec("count"), "job", 0, nil))
	l.must(splits("job", 100))
	tok := l.must(assign("job", target(1, 0, "a"))).FencingToken
	l.status(holdfastv1.JobStatus_JOB_STATUS_CREATED)
	r, ok := l.m.RestorePointOf(1)
	if !ok || r.From.GetFrom().GetPath() != savedAt || r.CheckpointID != 41 {
		t.Fatalf("restore point: %+v", r)
	}
	l.must(load(1, tok, 1, false, "a"))
	l.must(load(1, tok, 1, false, "a"))
	l.refused(load(1, tok, 3, true, "a"), gapReason)
	l.refused(load(1, tok-1, 2, false, "a"), fencedReason)
	l.refused(flush(1, tok, 1, "a"), holdfastv1.ErrorReason_ERROR_REASON_JOB_STATE)
	l.count(1, "a", 1)
	m, err := RestoreMachine(l.keyed, l.m.Records())
	if err != nil {
		t.Fatal(err)
	}
	l.m = m
	l.must(load(1, tok, 2, true, "b"))
	l.must(load(1, tok, 2, true, "b"))
	l.status(holdfastv1.JobStatus_JOB_STATUS_RUNNING)
	if v, _ := l.m.Subtask(1); v.Loading || v.LoadedChunks != 2 {
		t.Fatalf("view: %+v", v)
	}
	l.refused(load(1, tok, 3, true, "b"), invalidReason)
	l.must(flush(1, tok, 1, "b"))
	l.count(1, "b", 2)
}

// What does not fit the state is a refusal like that of a flush.
func TestLoadState_TooLargeSuspends(t *testing.T) {
	l := newLog(t)
	l.must(submitFrom(counterSpec("count"), "job", 0, nil))
	l.must(splits("job", 100))
	tok := l.must(assign("job", target(1, 0, "a"))).FencingToken
	l.refused(load(1, tok, 1, true, "too-large"), holdfastv1.ErrorReason_ERROR_REASON_STATE_TOO_LARGE)
	l.status(suspended)
}

// Without checkpoints the first attempt that gets as far begins from the snapshot,
// in the log and at a home alike.
func TestRestore_WithoutCheckpoints(t *testing.T) {
	l := newLog(t)
	l.hosts()
	for _, c := range []struct {
		id   string
		spec *holdfastv1.JobSpec
		keys []string
	}{{"log", withoutCheckpoints(counterSpec("log")), []string{"a"}}, {"home", onDisk(withoutCheckpoints(counterSpec("home"))), nil}} {
		l.must(submitFrom(c.spec, c.id, 0, nil))
		l.must(splits(c.id, 100))
		s := l.m.SubtasksOf(c.id)[0]
		give := func() uint64 {
			v, _ := l.m.Subtask(s)
			return l.must(assign(c.id, targetOn(s, v.Token, "s-"+c.id, "node", "inc"))).FencingToken
		}
		give()
		tok := give()
		l.offsets(s, 77)
		if c.id == "home" {
			l.refused(load(s, tok, 1, true, "a"), invalidReason)
			l.refused(finishOnHost(s, tok), holdfastv1.ErrorReason_ERROR_REASON_JOB_STATE)
		}
		l.must(load(s, tok, 1, true, c.keys...))
		l.offsets(s, 77)
		if r, _ := l.m.RestorePointOf(s); r.From == nil {
			t.Fatalf("%s: restore point %+v", c.id, r)
		}
		give()
		l.offsets(s, 100)
		if v, _ := l.m.Subtask(s); v.Loading || v.RestoredCheckpoint != 0 {
			t.Fatalf("%s: view %+v", c.id, v)
		}
		if r, ok := l.m.RestorePointOf(s); !ok || r.From != nil {
			t.Fatalf("%s: restore point %+v", c.id, r)
		}
	}
	l.count(l.m.SubtasksOf("log")[0], "a", 1)
}

// A claimed snapshot goes like a checkpoint of the job; another one never does.
func TestRestore_ClaimMode(t *testing.T) {
	const claim, noClaim = holdfastv1.ClaimMode_CLAIM_MODE_CLAIM, holdfastv1.ClaimMode_CLAIM_MODE_NO_CLAIM
	for _, c := range []struct {
		mode     holdfastv1.ClaimMode
		retained uint32
		want     []string
	}{
		{claim, 1, []string{savedAt}}, {claim, 2, nil}, {noClaim, 1, nil},
	} {
		l := newLog(t)
		l.hosts()
		spec := onDisk(coPartitioned(counterSpec("count"), 2))
		spec.Checkpoint.NumRetained = c.retained
		l.must(submitFrom(spec, "job", c.mode, nil))
		l.must(splits("job", 0, 0))
		tok := l.must(assign("job", targetOn(1, 0, "a", "node", "inc"), targetOn(2, 0, "b", "node", "inc"))).FencingToken
		l.deletions()
		l.checkpointed(tok, 0, oneFile(tok))
		l.deletions(c.want...)
		l.must(cancel("job"))
		if c.mode == claim {
			l.deletions("everything", savedAt)
			l.must(deleted(&internalv1.FilesDeleted{Restored: true}))
		}
		l.deletions("everything")
	}
}

func TestRestore_Refusals(t *testing.T) {
	const claim, failed = holdfastv1.ClaimMode_CLAIM_MODE_CLAIM, holdfastv1.ErrorReason_ERROR_REASON_RESTORE_FAILED
	l := newLog(t)
	for name, change := range map[string]func(*internalv1.Restore){
		"no path": func(r *internalv1.Restore) { r.From.Path = "" },
		"no hash": func(r *internalv1.Restore) { r.MetadataSha256 = nil },
		"no id":   func(r *internalv1.Restore) { r.CheckpointId = 0 },
		"all ids": func(r *internalv1.Restore) { r.CheckpointId = 1 << 63 },
	} {
		t.Run(name, func(*testing.T) { l.refused(submitFrom(counterSpec("x"), "x", 0, change), invalidReason) })
	}
	l.must(submit(counterSpec("owner"), "", "owner"))
	ownedBy := func(r *internalv1.Restore) { r.OwnerJobId = "owner" }
	l.refused(submitFrom(counterSpec("a"), "a", 0, ownedBy), failed)
	l.must(cancel("owner"))
	l.must(submitFrom(counterSpec("a"), "a", 0, ownedBy))
	l.refused(submitFrom(counterSpec("b"), "b", claim, nil), failed)
	l.must(submitFrom(counterSpec("b"), "b", 0, nil))
	l.must(cancel("a"))
	l.must(cancel("b"))
	l.must(submitFrom(counterSpec("c"), "c", claim, nil))
	l.refused(submitFrom(counterSpec("d"), "d", 0, nil), failed)
	l.must(cancel("c"))
	l.refused(submitFrom(counterSpec("d"), "d", 0, nil), failed)
}
