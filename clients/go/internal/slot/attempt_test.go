package slot

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/holdfast-io/holdfast/clients/go/internal/faketest"
	"github.com/holdfast-io/holdfast/clients/go/source"
	holdfastv1 "github.com/holdfast-io/holdfast/proto/holdfast/v1"
)

func TestRule4_2_AssignDropsTheAttemptBeforeIt(t *testing.T) {
	r, s := running(t, testAssign(), nil)
	r.deliver(100, "a", "a")
	s.Absent(s.Get())
	r.awaitOutput("a=1\na=2\n")
	s.Barrier(5, 1)
	s.BarrierPassed()
	r.wantPuts(s.Flush(), 1, map[string]int64{"a": 2})
	s.Ready()
	next := testAssign()
	next.FencingToken, next.Attempt, next.RestoredCheckpointId = 8, 8, 0
	s.Assign(next)
	r.receive("Close of the old task", r.closed)
	r.deliver(100, "a")
	// Neither the value nor the seq of the old attempt is there.
	g := s.Get()
	if g.GetFencingToken() != 8 {
		t.Fatalf("Get has token %d", g.GetFencingToken())
	}
	s.Absent(g)
	r.awaitOutput("a=1\na=2\na=1\n")
	s.Barrier(8, 1)
	s.BarrierPassed()
	r.wantPuts(s.Flush(), 1, map[string]int64{"a": 1})
	if ready := s.Ready(); ready.GetSeq() != 2 || ready.GetFencingToken() != 8 {
		t.Fatalf("CheckpointReady is %v", ready)
	}
}

func TestRule4_3_StartsAtThePositionsOfTheAssignment(t *testing.T) {
	a := testAssign()
	a.Splits = append(a.Splits, &holdfastv1.Split{Topic: topic, Partition: 1, StartOffset: new(int64(0))})
	r, s := running(t, a, nil)
	o := <-r.src.opened
	if len(o.Splits) != 2 || !o.Splits[0].Resolved || o.Splits[0].StartOffset != 100 ||
		!o.Splits[1].Resolved || o.Splits[1].StartOffset != 0 {
		t.Fatalf("opened with %v", o.Splits)
	}
	s.Barrier(5, 1)
	s.BarrierPassed()
	wantPositions(t, s.Ready().GetPositions(), 100, 0)
}

func TestRule4_3_UnresolvedSplitsAreResolvedByTheAttempt(t *testing.T) {
	a := testAssign()
	a.CheckpointsEnabled = false
	a.Splits[0].StartOffset = nil
	r := newRig(t, nil)
	r.src.open = func(o source.OpenOptions) ([]source.Position, error) {
		if o.Splits[0].Resolved {
			t.Error("the split was resolved before")
		}
		return []source.Position{{NextOffset: 40, LeaderEpoch: -1}}, nil
	}
	s := r.host.AcceptWelcome()
	if len(r.src.opened) > 0 {
		t.Fatal("the source was opened before the token was there")
	}
	s.Assign(a)
	<-r.src.opened
	r.deliver(40, "a")
	s.Absent(s.Get())
	r.wantPuts(s.Flush(), 1, map[string]int64{"a": 1})
}

func TestRule4_3_OffsetOutOfRangeFails(t *testing.T) {
	r := newRig(t, nil)
	r.src.open = func(source.OpenOptions) ([]source.Position, error) {
		return nil, fmt.Errorf("open: %w", &source.OffsetOutOfRangeError{Topic: topic, Partition: 2, Offset: 100, First: 120})
	}
	s := r.host.AcceptWelcome()
	s.Assign(testAssign())
	f := s.Failed()
	want := map[string]string{"topic": topic, "partition": "2", "offset": "100", "first_offset": "120"}
	if f.GetFencingToken() != 5 || f.GetFailureClass() != holdfastv1.FailureClass_FAILURE_CLASS_EXTERNAL ||
		f.GetError().GetReason() != holdfastv1.ErrorReason_ERROR_REASON_OFFSET_OUT_OF_RANGE ||
		fmt.Sprint(f.GetError().GetMetadata()) != fmt.Sprint(want) {
		t.Fatalf("Failed is %v", f)
	}
}

func TestRule4_4_RevokeDropsAndStandsBy(t *testing.T) {
	r, s := running(t, testAssign(), nil)
	r.deliver(100, "a")
	s.Absent(s.Get())
	r.awaitOutput("a=1\n")
	s.Revoke(5)
	r.receive("Close of the task", r.closed)
	s.Barrier(5, 1)
	s.Quiet(20 * time.Millisecond)
	s.Break()
	s = r.host.AcceptWelcome()
	if s.Hello.GetResume() != nil {
		t.Fatal("a revoked attempt was resumed")
	}
	next := testAssign()
	next.FencingToken, next.Attempt = 11, 11
	s.Assign(next)
	r.deliver(100, "a")
	s.Absent(s.Get())
	r.awaitOutput("a=1\na=1\n")
}

func TestRule4_4_RevokeInTheMiddleOfARecord(t *testing.T) {
	r, s := running(t, testAssign(), nil)
	r.deliver(100, "a>b", "c")
	s.Absent(s.Get())
	s.Get()
	s.Revoke(5)
	r.receive("Close of the task", r.closed)
	s.Quiet(20 * time.Millisecond)
	if r.output() != "" {
		t.Fatalf("output %q", r.output())
	}
}

func TestRule4_5_CoPartitionedSectionsNameTheirKeyGroup(t *testing.T) {
	a := testAssign()
	a.CoPartitioned, a.CheckpointsEnabled = true, false
	a.Splits = []*holdfastv1.Split{
		{Topic: topic, Partition: 0, StartOffset: new(int64(0))}, {Topic: topic, Partition: 1, StartOffset: new(int64(0))},
	}
	r, s := running(t, a, nil)
	r.step(step{recs: []rec{{0, 0, "a"}, {1, 0, "a"}, {1, 1, "a"}}})
	g := s.Get()
	if len(g.GetSections()) != 2 {
		t.Fatalf("Get is %v", g)
	}
	for i, sec := range g.GetSections() {
		if sec.KeyGroup == nil || sec.GetKeyGroup() != uint32(i) {
			t.Fatalf("section %d is %v", i, sec)
		}
	}
	s.Absent(g)
	got := map[string]int64{}
	for _, op := range faketest.Ops(s.Flush()) {
		got[fmt.Sprintf("%d/%s", *op.Group, op.Key)] = number(op.Value)
	}
	if fmt.Sprint(got) != "map[0/a:1 1/a:2]" {
		t.Fatalf("flushed %v", got)
	}
}

func TestRule4_5_OtherwiseThereIsNoKeyGroup(t *testing.T) {
	r, s := running(t, testAssign(), nil)
	r.deliver(100, "a")
	g := s.Get()
	if g.GetSections()[0].KeyGroup != nil {
		t.Fatalf("Get is %v", g)
	}
	s.Absent(g)
	s.Barrier(5, 1)
	s.BarrierPassed()
	if op := faketest.Ops(s.Flush())[0]; op.Group != nil {
		t.Fatalf("operation is %v", op)
	}
}

func TestRule5_2_OneGetABatchAndPagedValues(t *testing.T) {
	r, s := running(t, testAssign(), nil)
	r.deliver(100, "a", "b", "a", "c")
	g := s.Get()
	if got := faketest.Cells(g.GetSections()[0].GetKeys(), g.GetSections()[0].GetKeyLengths()); fmt.Sprint(got) != "[a b c]" {
		t.Fatalf("asked for %v", got)
	}
	page := func(last bool, found []byte, values ...string) {
		sec := &holdfastv1.ValueSection{StateId: stateID, Found: found}
		for _, v := range values {
			sec.ValueLengths = append(sec.ValueLengths, uint32(len(v)))
			sec.Values = append(sec.Values, v...)
		}
		s.Values(&holdfastv1.Values{FencingToken: 5, RequestId: g.GetRequestId(), Last: last, Sections: []*holdfastv1.ValueSection{sec}})
	}
	page(false, []byte{1}, encoded(10))
	page(false, []byte{0}, "")
	s.Quiet(20 * time.Millisecond)
	if r.output() != "" {
		t.Fatalf("rule 5.3: processed before the last Values: %q", r.output())
	}
	page(true, []byte{1}, encoded(30))
	r.awaitOutput("a=11\nb=1\na=12\nc=31\n")
	// What is in the copy is not asked for again.
	r.deliver(104, "a", "b", "c")
	r.awaitOutput("a=11\nb=1\na=12\nc=31\na=13\nb=2\nc=32\n")
	s.Quiet(20 * time.Millisecond)
}

func TestRule5_2_GetsStayWithinTheLimit(t *testing.T) {
	r := newRig(t, nil)
	s := r.host.Accept()
	s.Welcome(&holdfastv1.Welcome{Limits: &holdfastv1.Limits{GetKeys: 2}})
	s.Assign(testAssign())
	r.deliver(100, "a", "b", "c", "d", "e")
	for _, want := range []int{2, 2, 1} {
		g := s.Get()
		if got := len(g.GetSections()[0].GetKeyLengths()); got != want {
			t.Fatalf("a Get has %d keys, want %d", got, want)
		}
		s.Absent(g)
	}
	r.awaitOutput("a=1\nb=1\nc=1\nd=1\ne=1\n")
}

func TestRule5_2_MalformedValuesFailTheAttempt(t *testing.T) {
	r, s := running(t, testAssign(), nil)
	r.deliver(100, "a")
	g := s.Get()
	s.Values(&holdfastv1.Values{FencingToken: 5, RequestId: g.GetRequestId(), Last: true, Sections: []*holdfastv1.ValueSection{
		{StateId: stateID, Found: []byte{1}, ValueLengths: []uint32{8}, Values: []byte("short")},
	}})
	if f := s.Failed(); f.GetFailureClass() != holdfastv1.FailureClass_FAILURE_CLASS_INTERNAL {
		t.Fatalf("Failed is %v", f)
	}
}

func TestRule5_3_KeyFoundInTheMiddleOfARecord(t *testing.T) {
	r, s := running(t, testAssign(), nil)
	r.deliver(100, "a>b", "b")
	// b is asked for ahead, because a later record of the batch has it.
	g := s.Get()
	if n := len(g.GetSections()[0].GetKeyLengths()); n != 2 {
		t.Fatalf("asked for %d keys", n)
	}
	s.Absent(g)
	r.awaitOutput("a=1\nb=1\nb=2\n")
	r.deliver(102, "a>c")
	g = s.Get()
	// A barrier waits for the record in hand, however long its Get takes.
	s.Barrier(5, 1)
	s.Quiet(20 * time.Millisecond)
	s.Answer(g, map[string]string{"c": encoded(5)})
	s.BarrierPassed()
	r.wantPuts(s.Flush(), 1, map[string]int64{"a": 2, "b": 2, "c": 6})
	wantPositions(t, s.Ready().GetPositions(), 103)
}

func TestRule5_7_RefusedDropsTheAttempt(t *testing.T) {
	a := testAssign()
	a.CheckpointsEnabled = false
	r, s := running(t, a, nil)
	r.deliver(100, "a")
	s.Absent(s.Get())
	s.Flush()
	s.Refused(5, 1)
	r.receive("Close of the task", r.closed)
	if r.output() != "" {
		t.Fatalf("output %q of a flush that was not applied", r.output())
	}
	s.Break()
	if s := r.host.AcceptWelcome(); s.Hello.GetResume() != nil {
		t.Fatal("a refused attempt was resumed")
	}
}

func TestRule8_1_UserErrorsFailTheAttempt(t *testing.T) {
	for name, hook := range map[string]func() error{
		"error": func() error { return errTest },
		"panic": func() error { panic("from the test") },
	} {
		t.Run(name, func(t *testing.T) {
			r, s := running(t, testAssign(), nil)
			r.hooks["bad"] = hook
			r.deliver(100, "a", "bad")
			s.Absent(s.Get())
			f := s.Failed()
			if f.GetFailureClass() != holdfastv1.FailureClass_FAILURE_CLASS_USER ||
				f.GetError().GetReason() != holdfastv1.ErrorReason_ERROR_REASON_USER_CODE ||
				!strings.Contains(f.GetError().GetMessage(), "from the test") || f.GetFencingToken() != 5 {
				t.Fatalf("Failed is %v", f)
			}
			if stack := f.GetError().GetMetadata()["stack"]; (name == "panic") != strings.Contains(stack, "countTask") {
				t.Fatalf("stack is %q", stack)
			}
			r.receive("Close of the task", r.closed)
			// It stands by: the next assignment runs.
			next := testAssign()
			next.FencingToken, next.Attempt = 11, 11
			s.Assign(next)
			r.deliver(100, "a")
			s.Absent(s.Get())
			r.await("the new attempt", func() bool { return strings.HasSuffix(r.output(), "a=1\n") })
		})
	}
}

func TestRule8_1_FailedIsSentUnderTheTokenOfTheResume(t *testing.T) {
	r, s := running(t, testAssign(), nil)
	reached, release := r.blockOn("slow")
	defer release()
	r.hooks["bad"] = func() error { return errTest }
	r.deliver(100, "slow", "bad")
	s.Absent(s.Get())
	r.receive("the slow record", reached)
	s.Break()
	s = r.host.AcceptWelcome()
	release()
	s.Quiet(20 * time.Millisecond)
	s.Resume(&holdfastv1.Resume{FencingToken: 9, Attempt: 5})
	if f := s.Failed(); f.GetFencingToken() != 9 {
		t.Fatalf("Failed is %v", f)
	}
}

func TestRule8_1_ResumeThatCrossesAFailureIsAnswered(t *testing.T) {
	r, s := running(t, testAssign(), nil)
	r.hooks["bad"] = func() error { return errTest }
	r.deliver(100, "bad")
	s.Absent(s.Get())
	s.Failed()
	s.Resume(&holdfastv1.Resume{FencingToken: 9, Attempt: 5})
	if f := s.Failed(); f.GetFencingToken() != 9 || f.GetError().GetMessage() != errTest.Error() {
		t.Fatalf("Failed is %v", f)
	}
}

func TestRule8_1_KeyAboveItsLimit(t *testing.T) {
	r := newRig(t, nil)
	s := r.host.Accept()
	s.Welcome(&holdfastv1.Welcome{Limits: &holdfastv1.Limits{KeyBytes: 3}})
	s.Assign(testAssign())
	r.deliver(100, "toolong")
	if f := s.Failed(); f.GetError().GetReason() != holdfastv1.ErrorReason_ERROR_REASON_VALUE_TOO_LARGE {
		t.Fatalf("Failed is %v", f)
	}
}
