package coordinator

import (
	"fmt"
	"testing"

	"google.golang.org/protobuf/proto"

	internalv1 "github.com/holdfast-io/holdfast/proto/holdfast/internalv1"
	holdfastv1 "github.com/holdfast-io/holdfast/proto/holdfast/v1"
)

// maxFuzzSubtasks keeps the fuzzer from spending its time on wide jobs.
const maxFuzzSubtasks = 64

// FuzzNormalizeSpec takes any specification: it is refused with a field, or it
// normalizes to itself, makes a job, and the same submission joins that job.
func FuzzNormalizeSpec(f *testing.F) {
	for _, s := range []*holdfastv1.JobSpec{
		counterSpec("count"), withoutCheckpoints(counterSpec("a b")), coPartitioned(counterSpec("wide"), 3), {},
		onDisk(counterSpec("host")), withoutCheckpoints(onDisk(counterSpec("home"))),
		{Name: "x", RestartStrategy: &holdfastv1.RestartStrategy{Strategy: &holdfastv1.RestartStrategy_FailureRate{FailureRate: &holdfastv1.FailureRate{}}}},
	} {
		b, err := proto.Marshal(s)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(b, uint32(1))
		f.Add(b, uint32(7))
	}
	f.Fuzz(func(t *testing.T, data []byte, partitions uint32) {
		in := &holdfastv1.JobSpec{}
		if proto.Unmarshal(data, in) != nil {
			return
		}
		before := proto.CloneOf(in)
		out, e := NormalizeSpec(in)
		if !proto.Equal(in, before) {
			t.Fatal("the argument was changed")
		}
		if e != nil {
			if e.Reason != holdfastv1.ErrorReason_ERROR_REASON_INVALID_JOB_SPEC || e.Metadata["field"] == "" || e.Message == "" {
				t.Fatalf("refused with %v", e)
			}
			return
		}
		if again, e := NormalizeSpec(out); e != nil || !proto.Equal(again, out) {
			t.Fatalf("%v normalizes to %v, %v", out, again, e)
		}
		live(t, in, out, partitions%8)
	})
}

// live submits an accepted specification and brings its subtasks up.
func live(t *testing.T, in, out *holdfastv1.JobSpec, partitions uint32) {
	t.Helper()
	subtasks := uint32(0)
	for _, o := range out.Operators {
		if o.Source != nil {
			subtasks += o.Parallelism
		}
	}
	if subtasks > maxFuzzSubtasks {
		return
	}
	l := newLog(t)
	l.node("node", "", out.StateBackend.Name)
	l.must(submit(in, "s", "job"))
	if r := l.must(submit(out, "s", "other")); !r.Joined || r.JobId != "job" {
		t.Fatalf("the same job again gave %v", r)
	}
	for _, o := range out.Operators {
		if o.Source == nil {
			continue
		}
		r := &internalv1.RecordSplits{JobId: "job", OperatorUid: o.Uid}
		for p := range partitions {
			r.Splits = append(r.Splits, &holdfastv1.Split{Topic: "t", Partition: p, StartOffset: proto.Int64(0)})
		}
		if l.do(&internalv1.Command{Command: &internalv1.Command_RecordSplits{RecordSplits: r}}).Error != nil {
			return // such splits end the job
		}
	}
	for s := uint64(1); s <= uint64(subtasks); s++ {
		l.must(assign("job", target(s, 0, fmt.Sprint("s", s))))
		if a := l.m.AssignFrame(s); a == nil || a.SubtaskIndex >= a.Parallelism {
			t.Fatalf("subtask %d is assigned as %v", s, a)
		}
	}
	l.status(holdfastv1.JobStatus_JOB_STATUS_RUNNING)
	l.m.Describe("job")
	if _, err := RestoreMachine(l.keyed, l.m.Records()); err != nil {
		t.Fatal(err)
	}
}
