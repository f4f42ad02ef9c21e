package slot

import (
	"testing"
	"time"

	"github.com/holdfast-io/holdfast/clients/go/internal/faketest"
	holdfastv1 "github.com/holdfast-io/holdfast/proto/holdfast/v1"
)

// threeFlushes is a slot without checkpoints whose flushes 1 to 3 are under way.
func threeFlushes(t *testing.T) (*rig, *faketest.Stream) {
	t.Helper()
	a := testAssign()
	a.CheckpointsEnabled = false
	r, s := running(t, a, nil)
	for i, key := range []string{"a", "b", "c"} {
		r.deliver(100+int64(i), key)
		s.Absent(s.Get())
		s.Flush()
	}
	return r, s
}

func TestRule7_2_LaterFramesGoAgainInOrder(t *testing.T) {
	r, s := threeFlushes(t)
	s.Break()
	s = r.host.AcceptWelcome()
	if got := s.Hello.GetResume().GetAttempt(); got != 5 {
		t.Fatalf("resumed attempt %d, want 5", got)
	}
	s.Quiet(20 * time.Millisecond)
	s.Resume(&holdfastv1.Resume{FencingToken: 9, Attempt: 5, LastSeq: 1})
	// Frames through last_seq count as acknowledged.
	r.awaitOutput("a=1\n")
	for i, key := range []string{"b", "c"} {
		f := s.Flush()
		if f.GetFencingToken() != 9 {
			t.Fatalf("flush has token %d", f.GetFencingToken())
		}
		r.wantPuts(f, uint64(i)+2, map[string]int64{key: 1})
	}
	s.Ack(9, 3)
	r.awaitOutput("a=1\nb=1\nc=1\n")
	// It goes on with the working copy that it has.
	r.deliver(103, "a")
	r.wantPuts(s.Flush(), 4, map[string]int64{"a": 2})
}

func TestRule7_2_OpenGetIsAskedAgain(t *testing.T) {
	r, s := running(t, testAssign(), nil)
	r.deliver(100, "a", "b")
	old := s.Get()
	s.Values(&holdfastv1.Values{FencingToken: 5, RequestId: old.GetRequestId(), Sections: []*holdfastv1.ValueSection{
		{StateId: stateID, Found: []byte{1}, ValueLengths: []uint32{8}, Values: []byte(encoded(10))},
	}})
	s.Break()
	s = r.host.AcceptWelcome()
	s.Resume(&holdfastv1.Resume{FencingToken: 9, Attempt: 5})
	again := s.Get()
	if again.GetFencingToken() != 9 || again.GetRequestId() == old.GetRequestId() ||
		len(again.GetSections()[0].GetKeyLengths()) != 2 {
		t.Fatalf("Get is %v", again)
	}
	// A late answer to the old question counts for nothing.
	late := faketest.AnswerGet(old, func(*holdfastv1.KeySection, string) (string, bool) { return encoded(77), true })
	late.FencingToken = 9
	s.Values(late)
	s.Answer(again, map[string]string{"a": encoded(10), "b": encoded(20)})
	r.awaitOutput("a=11\nb=21\n")
}

func TestRule7_2_OpenGetInTheMiddleOfARecord(t *testing.T) {
	r, s := running(t, testAssign(), nil)
	r.deliver(100, "a>b")
	s.Absent(s.Get())
	s.Get()
	s.Break()
	s = r.host.AcceptWelcome()
	s.Resume(&holdfastv1.Resume{FencingToken: 9, Attempt: 5})
	s.Absent(s.Get())
	r.awaitOutput("a=1\nb=1\n")
}

func TestRule7_2_AnUnfinishedSealStays(t *testing.T) {
	r, s := sealing(t)
	s.Break()
	s = smallWindow(t, r)
	s.Resume(&holdfastv1.Resume{FencingToken: 9, Attempt: 5, LastSeq: 1})
	s.Barrier(9, 1) // again (rule 6.4)
	r.wantPuts(s.Flush(), 2, map[string]int64{"b": 1})
	s.Ack(9, 2)
	ready := s.Ready()
	if ready.GetSeq() != 3 || ready.GetFencingToken() != 9 {
		t.Fatalf("CheckpointReady is %v", ready)
	}
	wantPositions(t, ready.GetPositions(), 102)
}

func TestRule7_2_MoreAcknowledgedThanSentFails(t *testing.T) {
	r, s := running(t, testAssign(), nil)
	s.Break()
	s = r.host.AcceptWelcome()
	s.Resume(&holdfastv1.Resume{FencingToken: 9, Attempt: 5, LastSeq: 4})
	if f := s.Failed(); f.GetFailureClass() != holdfastv1.FailureClass_FAILURE_CLASS_INTERNAL {
		t.Fatalf("Failed is %v", f)
	}
}

func TestRule7_3_FencedOfTheOwnAttemptResumesAgain(t *testing.T) {
	r, s := threeFlushes(t)
	s.Fenced(8, 5)
	s.Closed()
	s = r.host.AcceptWelcome()
	if got := s.Hello.GetResume().GetAttempt(); got != 5 {
		t.Fatalf("resumed attempt %d, want 5", got)
	}
	s.Resume(&holdfastv1.Resume{FencingToken: 9, Attempt: 5, LastSeq: 3})
	r.awaitOutput("a=1\nb=1\nc=1\n")
}

func TestRule7_3_FencedOfAnotherAttemptDropsEverything(t *testing.T) {
	for name, attempt := range map[string]uint64{"another": 12, "none": 0} {
		t.Run(name, func(t *testing.T) {
			r, s := threeFlushes(t)
			s.Break()
			s = r.host.AcceptWelcome()
			s.Fenced(12, attempt)
			r.receive("Close of the task", r.closed)
			// It stands by on this stream.
			a := testAssign()
			a.FencingToken, a.Attempt = 20, 20
			s.Assign(a)
			r.deliver(100, "a")
			s.Absent(s.Get())
			r.awaitOutput("a=1\n")
			r.host.NoStream()
		})
	}
}

func TestRule7_3_FencedOfAnEarlierAttemptIsOldNews(t *testing.T) {
	r, s := running(t, testAssign(), nil)
	s.Fenced(4, 4)
	r.deliver(100, "a")
	s.Absent(s.Get())
	r.awaitOutput("a=1\n")
}

func TestRule7_4_BrokenAgainBeforeTheAnswer(t *testing.T) {
	r, s := threeFlushes(t)
	s.Break()
	for range 3 {
		s = r.host.AcceptWelcome()
		if got := s.Hello.GetResume().GetAttempt(); got != 5 {
			t.Fatalf("resumed attempt %d, want 5", got)
		}
		s.Break()
	}
	s = r.host.AcceptWelcome()
	s.Resume(&holdfastv1.Resume{FencingToken: 9, Attempt: 5, LastSeq: 2})
	r.wantPuts(s.Flush(), 3, map[string]int64{"c": 1})
}

func TestRule3_5_GoesOnWithoutAStream(t *testing.T) {
	r, s := running(t, testAssign(), nil)
	r.deliver(100, "a")
	s.Absent(s.Get())
	r.awaitOutput("a=1\n")
	s.Break()
	s = r.host.Accept()
	// What is in the copy needs no host.
	r.deliver(101, "a")
	r.awaitOutput("a=1\na=2\n")
	s.Welcome(nil)
	s.Resume(&holdfastv1.Resume{FencingToken: 9, Attempt: 5})
	s.Barrier(9, 1)
	s.BarrierPassed()
	r.wantPuts(s.Flush(), 1, map[string]int64{"a": 2})
}
