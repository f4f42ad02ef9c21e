package scenario

import (
	"context"
	"testing"

	"google.golang.org/grpc"

	"github.com/holdfast-io/holdfast/integration/harness"
	holdfastv1 "github.com/holdfast-io/holdfast/proto/holdfast/v1"
)

// twoSlots is a co-partitioned job with two raw slots, in the order of their
// subtasks.
func twoSlots(t *testing.T, c *harness.Cluster) (*rawJob, [2]*rawSlot) {
	t.Helper()
	j := newRawJob(t, c, c.Followers()[0], harness.FlusherConfig{CheckpointMs: 3_600_000, Slots: 2})
	var slots [2]*rawSlot
	open := [2]*rawSlot{j.open(), j.open()}
	for _, s := range open {
		s.id = j.hello()
		s.send(up(s.id))
		s.keepAlive()
	}
	// Either of them may be asked for the splits.
	harness.Until(t, "two assignments", func() error {
		for _, s := range open {
			m, err := s.TryNext()
			if err == nil && s.take(m) {
				slots[s.assign.SubtaskIndex] = s
			}
		}
		if open[0].assign == nil || open[1].assign == nil {
			return errorf("assigned: %v and %v", open[0].assign, open[1].assign)
		}
		return nil
	})
	if slots[0] == nil || slots[1] == nil {
		t.Fatal("one subtask was assigned twice")
	}
	return j, slots
}

// barrier waits for the barrier of a checkpoint.
func (s *rawSlot) barrier(id uint64) {
	s.job.t.Helper()
	s.await("a barrier", func(m *holdfastv1.HostMessage) bool {
		b := m.GetBarrier()
		return b.GetCheckpointId() == id && b.GetFencingToken() == s.assign.FencingToken
	})
}

// answerBarrier says Ready, with one offset for every split.
func (s *rawSlot) answerBarrier(seq, id uint64, offset int64) {
	r := &holdfastv1.CheckpointReady{FencingToken: s.assign.FencingToken, Seq: seq, CheckpointId: id}
	for _, split := range s.assign.Splits {
		r.Positions = append(r.Positions, &holdfastv1.Position{Topic: split.Topic, Partition: split.Partition, NextOffset: offset})
	}
	s.send(up(r))
}

func mustTrigger(t *testing.T, c *harness.Cluster, job string) uint64 {
	t.Helper()
	r, err := c.Trigger(job, harness.RandomName("trigger"))
	if err != nil {
		t.Fatal(err)
	}
	return r.CheckpointId
}

// LateAck loses a subtask whose ack is in while the other one's is not: the
// assignment aborts the pending checkpoint, the late ack takes its seq and
// changes nothing, and the next checkpoint holds what the new attempts have
// (invariants 3 and 4).
func LateAck(t *testing.T, c *harness.Cluster) {
	j, s := twoSlots(t, c)
	s[0].send(s[0].flush(1, nil))
	s[0].awaitAck(1)
	id := mustTrigger(t, c, j.id)
	s[0].barrier(id)
	s[1].barrier(id)
	s[0].answerBarrier(2, id, 5)
	s[0].awaitAck(2)
	s[0].Break()
	next := j.open()
	next.id = j.hello()
	next.send(up(next.id))
	next.keepAlive()
	next.await("the lost subtask", func(m *holdfastv1.HostMessage) bool { return next.take(m) })
	if next.assign.RestoredCheckpointId != 0 || *next.assign.Splits[0].StartOffset != 0 {
		t.Errorf("the new attempt begins from checkpoint %d at %v; none was completed", next.assign.RestoredCheckpointId, next.assign.Splits)
	}
	s[1].answerBarrier(1, id, 7)
	s[1].awaitAck(1)
	status := func() holdfastv1.CheckpointStatus {
		for _, k := range c.Checkpoints(j.id).Checkpoints {
			if k.Id == id {
				return k.Status
			}
		}
		return 0
	}
	if got := status(); got != holdfastv1.CheckpointStatus_CHECKPOINT_STATUS_ABORTED {
		t.Errorf("checkpoint %d mixes attempts and is %s", id, got)
	}
	second := mustTrigger(t, c, j.id)
	next.barrier(second)
	s[1].barrier(second)
	next.answerBarrier(1, second, 0)
	s[1].answerBarrier(2, second, 8)
	k := c.WaitCheckpoint(j.id, 0)
	if k.Id != second || second <= id {
		t.Errorf("checkpoint %d was completed; triggered was %d after %d", k.Id, second, id)
	}
	if got := status(); got != holdfastv1.CheckpointStatus_CHECKPOINT_STATUS_ABORTED {
		t.Errorf("checkpoint %d was aborted and is %s now", id, got)
	}
	ref := harness.StateRef{Job: j.id, Operator: harness.FlusherOperator, State: harness.FlusherState, Checkpoint: second}
	if got := c.Counts(ref); len(got) != 0 {
		t.Errorf("checkpoint %d has %v; the flush of the attempt before belongs to no checkpoint", second, got)
	}
}

// ResumeKeepsTheAck breaks the stream of a subtask that has acked and resumes
// it: its ack still counts, and a second one for the same checkpoint does not
// replace it (invariant 3).
func ResumeKeepsTheAck(t *testing.T, c *harness.Cluster) {
	j, s := twoSlots(t, c)
	id := mustTrigger(t, c, j.id)
	s[0].barrier(id)
	s[1].barrier(id)
	s[0].answerBarrier(1, id, 5)
	s[0].awaitAck(1)
	s[0].Break()
	again := j.open()
	again.id, again.assign = s[0].id, s[0].assign
	again.id.Resume = &holdfastv1.ResumeAttempt{Attempt: s[0].assign.Attempt}
	again.send(up(again.id))
	again.keepAlive()
	m := again.await("Resume", func(m *holdfastv1.HostMessage) bool { return m.GetResume() != nil })
	if r := m.GetResume(); r.LastSeq != 1 || r.Attempt != s[0].assign.Attempt || r.FencingToken <= s[0].assign.FencingToken {
		t.Errorf("resumed with %v; acknowledged was seq 1 of attempt %d", r, s[0].assign.Attempt)
	}
	again.assign.FencingToken = m.GetResume().FencingToken
	again.answerBarrier(2, id, 99)
	again.awaitAck(2)
	s[1].answerBarrier(1, id, 7)
	k := c.WaitCheckpoint(j.id, 0)
	if k.Id != id {
		t.Fatalf("checkpoint %d was completed, not %d", k.Id, id)
	}
	want := map[uint32]int64{0: 5, 1: 7}
	for _, a := range k.Acks {
		if got := a.Positions[0].NextOffset; got != want[a.SubtaskIndex] {
			t.Errorf("subtask %d has the position %d in the checkpoint, want %d", a.SubtaskIndex, got, want[a.SubtaskIndex])
		}
	}
}

// FrozenHost stops a host with an operator on it, which sends one more flush to
// it. When another attempt runs elsewhere the host wakes: where it reads that
// flush before it learns of the new token it proposes it under the old one, and
// the log must refuse it (invariant 1). Which comes first is a race, so there
// are several rounds. Processes only.
func FrozenHost(t *testing.T, c *harness.Cluster, rounds int) {
	for range rounds {
		frozenHost(t, c)
	}
	c.VerifyReplicas()
}

func frozenHost(t *testing.T, c *harness.Cluster) {
	t.Helper()
	followers := c.Followers()
	j := newRawJob(t, c, followers[0], harness.FlusherConfig{CheckpointMs: 3_600_000})
	key := func(k string) func(*flushMsg, *flushSection) {
		return func(_ *flushMsg, sec *flushSection) { sec.Keys = []byte(k) }
	}
	old := j.open()
	old.id = j.hello()
	old.send(up(old.id))
	old.await("an assignment", func(m *holdfastv1.HostMessage) bool { return old.take(m) })
	old.send(old.flush(1, key("a")))
	old.awaitAck(1)
	j.node = followers[1]
	s := j.open()
	s.send(up(j.hello()))
	s.keepAlive()
	waitStandby(c, j.id)
	if !c.Freeze(followers[0]) {
		t.Fatalf("nodes of this back end (%s) cannot be stopped", c.Backend.Kind())
	}
	old.send(old.flush(2, key("z")))
	err := c.On(followers[1], func(ctx context.Context, conn *grpc.ClientConn) error {
		_, err := holdfastv1.NewJobServiceClient(conn).ReportProcessExit(ctx, &holdfastv1.ReportProcessExitRequest{ProcessId: old.id.ProcessId})
		return err
	})
	if err != nil {
		t.Errorf("report that a process is gone: %v", err)
	}
	s.await("the subtask of the stopped host", func(m *holdfastv1.HostMessage) bool { return s.take(m) })
	s.send(s.flush(1, key("b")))
	s.awaitAck(1)
	c.Thaw(followers[0])
	c.WaitCaughtUp(followers[0])
	m := old.await("Fenced or Revoke", func(m *holdfastv1.HostMessage) bool { return m.GetFenced() != nil || m.GetRevoke() != nil })
	t.Logf("the host that woke tells its operator %T", m.Message)
	old.Break()
	// Behind this flush nothing of the old attempt was applied.
	s.send(s.flush(2, key("c")))
	s.awaitAck(2)
	got := c.Counts(harness.StateRef{Job: j.id, Operator: harness.FlusherOperator, State: harness.FlusherState})
	if _, there := got["z"]; there || len(got) != 2 {
		t.Errorf("the state is %v, want b and c of the attempt that holds the token", got)
	}
	mustCancel(t, c, j.id)
}
