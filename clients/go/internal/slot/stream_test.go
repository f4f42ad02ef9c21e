package slot

import (
	"context"
	"errors"
	"fmt"
	"testing"
	"time"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/holdfast-io/holdfast/clients/go/internal/faketest"
	"github.com/holdfast-io/holdfast/clients/go/source"
	holdfastv1 "github.com/holdfast-io/holdfast/proto/holdfast/v1"
)

func TestRule3_1_HelloNamesTheSlotOnEveryStream(t *testing.T) {
	r := newRig(t, nil)
	first := r.host.AcceptWelcome()
	h := first.Hello
	if h.GetProtocolVersion() != 1 || h.GetJobId() != "job" || h.GetProcessId() != "process" ||
		len(h.GetInstanceId()) != 32 || h.GetResume() != nil || len(h.GetOperatorUids()) != 2 {
		t.Fatalf("Hello is %v", h)
	}
	first.Break()
	second := r.host.AcceptWelcome()
	if second.Hello.GetInstanceId() != h.GetInstanceId() {
		t.Fatal("another stream of the slot has another instance id")
	}
	second.Quiet(30 * time.Millisecond)
}

func TestRule3_2_FatalStatusEndsTheSlot(t *testing.T) {
	for _, reason := range []string{"VERSION_NOT_SUPPORTED", "JOB_NOT_FOUND", "PROTOCOL_VIOLATION", "VALUE_TOO_LARGE"} {
		for name, welcome := range map[string]bool{" to Hello": false, " of a running attempt": true} {
			t.Run(reason+name, func(t *testing.T) {
				r := newRig(t, nil)
				s := r.host.Accept()
				if welcome {
					s.Welcome(nil)
					s.Assign(testAssign())
					<-r.src.opened
				}
				s.End(faketest.Status(codes.FailedPrecondition, reason))
				r.wait()
				var fatal *FatalError
				if !errors.As(r.err, &fatal) || ReasonName(fatal.Reason) != reason {
					t.Fatalf("Run returned %v", r.err)
				}
			})
		}
	}
}

func TestRule3_2_TransportThatRefusesTheSizeEndsTheSlot(t *testing.T) {
	r := newRig(t, nil)
	r.host.Accept().End(status.Error(codes.ResourceExhausted, "grpc: received message larger than max (9 vs. 8)"))
	r.wait()
	var fatal *FatalError
	if !errors.As(r.err, &fatal) || ReasonName(fatal.Reason) != "VALUE_TOO_LARGE" {
		t.Fatalf("Run returned %v", r.err)
	}
}

func TestRule3_2_OtherStatusIsTriedAgain(t *testing.T) {
	r := newRig(t, nil)
	r.host.Accept().End(status.Error(codes.Unavailable, "no leader"))
	r.host.Accept().End(faketest.Status(codes.ResourceExhausted, "OVERLOADED"))
	r.host.Accept().End(nil)
	r.host.AcceptWelcome().End(nil)
	r.host.AcceptWelcome()
}

func TestRule3_3_NoEchoBreaksTheStream(t *testing.T) {
	r := newRig(t, nil)
	s := r.host.Accept()
	s.StopEcho()
	s.Welcome(&holdfastv1.Welcome{HeartbeatIntervalMs: 10, SessionTimeoutMs: 100})
	s.Assign(testAssign())
	s.Closed()
	if got := r.host.Accept().Hello.GetResume().GetAttempt(); got != 5 {
		t.Fatalf("resumed attempt %d, want 5", got)
	}
}

func TestRule3_3_UserCodeCannotBlockHeartbeats(t *testing.T) {
	r, s := running(t, testAssign(), nil)
	reached, release := r.blockOn("slow")
	defer release()
	r.deliver(100, "slow")
	s.Absent(s.Get())
	r.receive("the slow record", reached)
	before := s.Heartbeats.Load()
	r.await("heartbeats", func() bool { return s.Heartbeats.Load() > before+3 })
}

func TestRule3_4_ReadsWhileUserCodeBlocks(t *testing.T) {
	r, s := running(t, testAssign(), nil)
	reached, release := r.blockOn("slow")
	defer release()
	r.deliver(100, "slow")
	s.Absent(s.Get())
	r.receive("the slow record", reached)
	// A resume, too, must not wait for user code.
	s.Break()
	s = r.host.AcceptWelcome()
	if got := s.Hello.GetResume().GetAttempt(); got != 5 {
		t.Fatalf("resumed attempt %d, want 5", got)
	}
	s.Resume(&holdfastv1.Resume{FencingToken: 9, Attempt: 5})
	s.Barrier(9, 1)
	release()
	if b := s.BarrierPassed(); b.GetFencingToken() != 9 || b.GetCheckpointId() != 1 {
		t.Fatalf("BarrierPassed is %v", b)
	}
}

func TestRule3_5_NextAddressOfWelcome(t *testing.T) {
	other := faketest.NewHost(t)
	r := newRig(t, nil)
	s := r.host.Accept()
	s.Welcome(&holdfastv1.Welcome{Addresses: []string{r.host.Address, other.Address}})
	s.Assign(testAssign())
	r.deliver(100, "a")
	s.Absent(s.Get())
	r.awaitOutput("a=1\n")
	s.Break()
	if got := other.Accept().Hello.GetResume().GetAttempt(); got != 5 {
		t.Fatalf("resumed attempt %d, want 5", got)
	}
}

func TestRule3_5_DeadAddressesArePassedOver(t *testing.T) {
	r := newRig(t, func(c *Config) {
		live := c.Addresses.At(0)
		c.Addresses = NewAddresses([]string{"127.0.0.1:1", live})
	})
	r.host.AcceptWelcome()
}

func TestRule3_6_GoAwayResumesElsewhere(t *testing.T) {
	other := faketest.NewHost(t)
	r := newRig(t, func(c *Config) { c.Addresses.Add([]string{other.Address}) })
	s := r.host.AcceptWelcome()
	s.Assign(testAssign())
	r.deliver(100, "a")
	s.Absent(s.Get())
	r.awaitOutput("a=1\n")
	s.GoAway()
	s.Closed()
	if got := other.Accept().Hello.GetResume().GetAttempt(); got != 5 {
		t.Fatalf("resumed attempt %d, want 5", got)
	}
}

func TestRule3_6_GoAwayNamesTheNode(t *testing.T) {
	second, home := faketest.NewHost(t), faketest.NewHost(t)
	r := newRig(t, func(c *Config) { c.Addresses.Add([]string{second.Address}) })
	s := r.host.AcceptWelcome()
	s.GoAwayTo(home.Address)
	s.Closed()
	// It was in no list; once its stream fails the list counts again.
	s = home.AcceptWelcome()
	s.Break()
	r.host.AcceptWelcome()
	second.NoStream()
}

func TestRule3_6_ANamedNodeThatIsGoneIsPassedOver(t *testing.T) {
	r := newRig(t, nil)
	s := r.host.AcceptWelcome()
	s.GoAwayTo("127.0.0.1:1")
	s.Closed()
	r.host.AcceptWelcome()
}

func TestRule3_6_JobEndedEndsTheSlot(t *testing.T) {
	for name, assign := range map[string]bool{"standby": false, "running": true} {
		t.Run(name, func(t *testing.T) {
			r := newRig(t, nil)
			s := r.host.AcceptWelcome()
			if assign {
				s.Assign(testAssign())
			}
			s.JobEnded(holdfastv1.JobStatus_JOB_STATUS_CANCELED)
			r.wait()
			if r.ended.GetStatus() != holdfastv1.JobStatus_JOB_STATUS_CANCELED {
				t.Fatalf("Run returned %v, %v", r.ended, r.err)
			}
		})
	}
}

func TestRule3_7_UnknownMessagesAreIgnored(t *testing.T) {
	r, s := running(t, testAssign(), nil)
	s.Send(&holdfastv1.HostMessage{})
	r.deliver(100, "a")
	s.Send(&holdfastv1.HostMessage{})
	s.Absent(s.Get())
	r.awaitOutput("a=1\n")
}

func TestRule3_8_OtherTokensAreIgnored(t *testing.T) {
	r, s := running(t, testAssign(), nil)
	r.deliver(100, "a")
	g := s.Get()
	stale := faketest.AnswerGet(g, func(*holdfastv1.KeySection, string) (string, bool) { return encoded(40), true })
	stale.FencingToken = 4
	s.Values(stale)
	s.Barrier(4, 1)
	s.Revoke(4)
	s.Refused(4, 1)
	s.Ack(4, 99)
	s.Absent(g)
	r.awaitOutput("a=1\n")
	s.Quiet(20 * time.Millisecond)
}

func TestRule4_1_SplitsWithAndWithoutOffsets(t *testing.T) {
	r := newRig(t, nil)
	r.src.discover = func(_ context.Context, o source.DiscoverOptions) ([]source.Split, error) {
		return []source.Split{{Topic: topic, Partition: 0, StartOffset: 0, Resolved: o.ResolveOffsets}, {Topic: topic, Partition: 1, StartOffset: 9, Resolved: o.ResolveOffsets}}, nil
	}
	s := r.host.AcceptWelcome()
	s.Discover(sourceUID, true)
	f := s.SplitsFound()
	if len(f.GetSplits()) != 2 || f.GetOperatorUid() != sourceUID || f.GetSplits()[0].StartOffset == nil || f.GetSplits()[1].GetStartOffset() != 9 {
		t.Fatalf("with offsets: %v", f)
	}
	s.Discover(sourceUID, false)
	for _, sp := range s.SplitsFound().GetSplits() {
		if sp.StartOffset != nil {
			t.Fatalf("without offsets: %v", sp)
		}
	}
}

func TestRule4_1_MissingSourceIsAnError(t *testing.T) {
	r := newRig(t, nil)
	r.src.discover = func(context.Context, source.DiscoverOptions) ([]source.Split, error) {
		return nil, fmt.Errorf("no topic: %w", source.ErrSourceNotFound)
	}
	s := r.host.AcceptWelcome()
	s.Discover(sourceUID, true)
	f := s.SplitsFound()
	if f.GetError().GetReason() != holdfastv1.ErrorReason_ERROR_REASON_SOURCE_NOT_FOUND || len(f.GetSplits()) != 0 {
		t.Fatalf("SplitsFound is %v", f)
	}
}

func TestRule4_1_NoAnswerWhileTheSourceIsDown(t *testing.T) {
	r := newRig(t, nil)
	up := make(chan struct{})
	r.src.discover = func(ctx context.Context, _ source.DiscoverOptions) ([]source.Split, error) {
		select {
		case <-up:
			return []source.Split{{Topic: topic}}, nil
		case <-ctx.Done():
			return nil, ctx.Err()
		}
	}
	s := r.host.AcceptWelcome()
	s.Discover(sourceUID, true)
	s.Discover(sourceUID, true)
	s.Quiet(30 * time.Millisecond)
	// The slot can be assigned and runs meanwhile.
	s.Assign(testAssign())
	r.deliver(100, "a")
	s.Absent(s.Get())
	r.awaitOutput("a=1\n")
	close(up)
	s.SplitsFound()
	s.Quiet(20 * time.Millisecond)
}

func TestRule8_3_DrainFinishesTheRecordInHand(t *testing.T) {
	r, s := running(t, testAssign(), nil)
	reached, release := r.blockOn("b")
	defer release()
	r.deliver(100, "a", "b", "c")
	s.Absent(s.Get())
	r.receive("record b", reached)
	r.cancel()
	r.await("the attention", r.slot.inbox.attention.Load)
	release()
	r.wait()
	if !errors.Is(r.err, context.Canceled) || r.output() != "a=1\nb=1\n" {
		t.Fatalf("Run returned %v, output %q", r.err, r.output())
	}
	r.await("the half close", s.HalfClosed.Load)
}

func TestRule8_3_DrainWithoutCheckpointsFlushes(t *testing.T) {
	a := testAssign()
	a.CheckpointsEnabled = false
	r, s := running(t, a, nil)
	r.slot.drainWithin = faketest.Patience
	reached, release := r.blockOn("b")
	defer release()
	r.deliver(100, "a", "b", "c")
	s.Absent(s.Get())
	r.receive("record b", reached)
	r.cancel()
	r.await("the attention", r.slot.inbox.attention.Load)
	release()
	r.wantPuts(s.Flush(), 1, map[string]int64{"a": 1, "b": 1})
	s.Ack(5, 1)
	r.wait()
	if r.output() != "a=1\nb=1\n" {
		t.Fatalf("output %q", r.output())
	}
}

func TestRule8_3_DrainEndsWithoutAHost(t *testing.T) {
	r, s := running(t, testAssign(), nil)
	r.deliver(100, "a>b")
	s.Absent(s.Get())
	s.Get() // of b, in the middle of the record; it is never answered
	r.cancel()
	r.wait()
	if !errors.Is(r.err, context.Canceled) || r.output() != "" {
		t.Fatalf("Run returned %v, output %q", r.err, r.output())
	}
}
