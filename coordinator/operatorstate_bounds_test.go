package coordinator

import (
	"strings"
	"testing"

	internalv1 "github.com/holdfast-io/holdfast/proto/holdfast/internalv1"
	holdfastv1 "github.com/holdfast-io/holdfast/proto/holdfast/v1"
)

// partOf is the operator state of a subtask, as a file of n bytes.
func partOf(token, checkpoint, subtask, n uint64) *holdfastv1.StateHandle {
	h := file(sst(token, checkpoint, subtask, OperatorStateFormat), false)
	h.Name, h.Format, h.Size = OperatorStateFormat, OperatorStateFormat, n
	return h
}

// What no attempt could begin with completes no checkpoint, and ends no subtask.
func TestUnion_FitsAnAttempt(t *testing.T) {
	large := holdfastv1.ErrorReason_ERROR_REASON_STATE_TOO_LARGE
	l, tok := onHosts(t, func(s *holdfastv1.JobSpec) { keeping(s) })
	const half = MaxRestoredOperatorState / 2
	n := l.must(begin("job")).CheckpointId
	l.must(ackOnHost(hostAck(1, tok, n, 0, partOf(tok, n, 1, half))))
	r := l.refused(ackOnHost(hostAck(2, tok, n, 0, partOf(tok, n, 2, half+1))), large)
	if want := `the operator state "kept" of operator "source" is UNION`; !strings.HasPrefix(r.Error.Message, want) || !strings.Contains(r.Error.Message, "67108865 bytes") {
		t.Fatalf("got %q", r.Error.Message)
	}
	l.must(ackOnHost(hostAck(2, tok, n, 0, partOf(tok, n, 2, half))))
	l.outcome(n, holdfastv1.CheckpointStatus_CHECKPOINT_STATUS_COMPLETED)
	l.must(finishOnHost(1, tok, partOf(tok, 0, 1, half)))
	l.refused(finishOnHost(2, tok, partOf(tok, 0, 2, half+1)), large)
	n = l.must(begin("job")).CheckpointId
	l.refused(ackOnHost(hostAck(2, tok, n, 0, partOf(tok, n, 2, half+1))), large)
	l.must(ackOnHost(hostAck(2, tok, n, 0, partOf(tok, n, 2, half))))
	l.must(finishOnHost(2, tok, partOf(tok, 0, 2, half)))
}

// An end counts for the checkpoints behind the pending one, which its subtask has acked
// with less.
func TestUnion_EndsInOnePendingFitAnAttempt(t *testing.T) {
	l := newLog(t)
	l.hosts()
	spec := keeping(onDisk(coPartitioned(counterSpec("count"), 2)))
	spec.Operators = append(spec.Operators, &holdfastv1.Operator{Uid: "second", Parallelism: 1, Source: &holdfastv1.SourceSpec{Connector: "file", Topics: []string{"x"}}})
	l.must(submit(spec, "", "job"))
	l.must(splits("job", 0, 0))
	l.must(&internalv1.Command{Command: &internalv1.Command_RecordSplits{RecordSplits: &internalv1.RecordSplits{
		JobId: "job", OperatorUid: "second", Splits: []*holdfastv1.Split{{Topic: "x", StartOffset: new(int64)}}}}})
	tok := l.must(assign("job", targetOn(1, 0, "a", "node", "inc"), targetOn(2, 0, "b", "other", "inc2"), targetOn(3, 0, "c", "node", "inc"))).FencingToken
	n := l.must(begin("job")).CheckpointId
	l.must(ackOnHost(hostAck(1, tok, n, 0, partOf(tok, n, 1, 1))))
	l.must(ackOnHost(hostAck(2, tok, n, 0, partOf(tok, n, 2, 1))))
	l.must(finishOnHost(1, tok, partOf(tok, 0, 1, MaxRestoredOperatorState-1)))
	l.refused(finishOnHost(2, tok, partOf(tok, 0, 2, 2)), holdfastv1.ErrorReason_ERROR_REASON_STATE_TOO_LARGE)
	l.must(finishOnHost(2, tok, partOf(tok, 0, 2, 1)))
	l.must(ackOnHost(hostAck(3, tok, n, 0)))
	l.outcome(n, holdfastv1.CheckpointStatus_CHECKPOINT_STATUS_COMPLETED)
	n = l.must(begin("job")).CheckpointId
	l.must(ackOnHost(hostAck(3, tok, n, 0)))
	l.outcome(n, holdfastv1.CheckpointStatus_CHECKPOINT_STATUS_COMPLETED)
}

// A list that is split has no such bound: each subtask gets its own back.
func TestSplit_OfAnySize(t *testing.T) {
	l, tok := onHosts(t, func(s *holdfastv1.JobSpec) {
		s.Operators[0].OperatorStates = []*holdfastv1.OperatorStateDescriptor{operatorState("kept", splitMode)}
	})
	l.checkpointed(tok, 0, func(n, subtask uint64) []*holdfastv1.StateHandle {
		return []*holdfastv1.StateHandle{partOf(tok, n, subtask, MaxRestoredOperatorState)}
	})
}

func TestCheckRestoredOperatorState(t *testing.T) {
	of := func(modes ...holdfastv1.OperatorStateMode) (out []DeclaredOperatorState) {
		for _, m := range modes {
			out = append(out, DeclaredOperatorState{"op", operatorState("s", m)})
		}
		return out
	}
	const most = MaxRestoredOperatorState
	for name, x := range map[string]struct {
		declared []DeclaredOperatorState
		total    uint64
		was, is  uint32
		want     string
	}{
		"none":                          {nil, 1 << 40, 8, 4, ""},
		"a union that fits":             {of(unionMode), most, 33, 33, ""},
		"a union":                       {of(splitMode, unionMode), most + 1, 33, 33, "keep less in it"},
		"a split list that stays":       {of(splitMode), 1 << 40, 8, 8, ""},
		"a split list that fits":        {of(splitMode), 4 * most, 8, 4, ""},
		"a split list for few":          {of(splitMode), 3*most + 3, 8, 3, "restore it at a higher parallelism"},
		"a split list that is too much": {of(splitMode), 4*most + 1, 8, 100, "restore it at the parallelism 8 of the snapshot"},
		"maps that fit":                 {of(broadcastMode), 4 * most, 400, 1, ""},
	} {
		e := CheckRestoredOperatorState(x.declared, x.total, x.was, x.is)
		if (e == nil) != (x.want == "") || !strings.Contains(e.GetMessage(), x.want) ||
			e != nil && e.Reason != holdfastv1.ErrorReason_ERROR_REASON_RESTORE_FAILED {
			t.Errorf("%s: got %v, want %q", name, e, x.want)
		}
	}
}
