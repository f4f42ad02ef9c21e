package harness

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"slices"
	"sync"
	"time"

	"google.golang.org/grpc"

	holdfastv1 "github.com/holdfast-io/holdfast/proto/holdfast/v1"
)

// flusherSlot is one slot of a flusher.
type flusherSlot struct {
	f         *Flusher
	number    int
	instance  string
	process   string
	done      chan struct{}
	closeOnce sync.Once
	stream    *Stream // of run's goroutine

	mu      sync.Mutex
	address string // of the current stream, empty if there is none
	quiet   bool
	home    bool // begin with the list of addresses again
	bad     error
	ended   *holdfastv1.JobEnded
	stats   Stats

	attempt, token uint64
	assign         *holdfastv1.Assign
	seq, acked     uint64
	ackedBefore    uint64 // in attempts that are over
	frames         []frame
	flushes        map[uint32]int64 // made, by partition
	lastBarrier    uint64
	sent, durable  map[string]int64 // sums over the frames sent, and acked
	get            *openGet
	getID          uint64
	watchSeq       uint64
	watchAt        time.Time
	lastError      error
	full, partial  chan struct{} // closed at the moments of WaitFull and WaitPartial
}

// frame is sent and not acknowledged.
type frame struct {
	seq   uint64
	flush *holdfastv1.Flush
	ready *holdfastv1.CheckpointReady
	adds  map[string]int64
	// number is the flush's over all attempts, 0 of a Ready.
	number int64
}

func (f frame) message(token uint64) *holdfastv1.OperatorMessage {
	if f.ready != nil {
		f.ready.FencingToken = token
		return &holdfastv1.OperatorMessage{Message: &holdfastv1.OperatorMessage_CheckpointReady{CheckpointReady: f.ready}}
	}
	f.flush.FencingToken = token
	return &holdfastv1.OperatorMessage{Message: &holdfastv1.OperatorMessage_Flush{Flush: f.flush}}
}

// openGet is a question whose answer has bounds: no less than what was durable
// when it was asked, no more than what was sent when it is answered.
type openGet struct {
	id      uint64
	key     string
	atLeast int64
}

func newFlusherSlot(f *Flusher, number int, process string) *flusherSlot {
	return &flusherSlot{
		f: f, number: number, instance: RandomName("slot"), process: process, done: make(chan struct{}),
		flushes: map[uint32]int64{}, sent: map[string]int64{}, durable: map[string]int64{},
	}
}

func (s *flusherSlot) close() { s.closeOnce.Do(func() { close(s.done) }) }

func (s *flusherSlot) setQuiet(q bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.quiet = q
}

func (s *flusherSlot) ackedEver() uint64 {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.ackedBefore + s.acked
}

// where describes the slot for messages about waiting.
func (s *flusherSlot) where() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return fmt.Sprintf("on %q, attempt %d token %d, sent %d acked %d, ended %v, last error %v",
		s.address, s.attempt, s.token, s.seq, s.acked, s.ended, s.lastError)
}

func (s *flusherSlot) violation(format string, args ...any) {
	if s.bad == nil {
		s.bad = fmt.Errorf(format, args...)
	}
}

// run opens stream after stream until the slot is closed or the job ends.
func (s *flusherSlot) run() {
	var list []string
	backoff := 5 * time.Millisecond
	for {
		select {
		case <-s.done:
			return
		default:
		}
		if len(list) == 0 || s.takeHome() {
			list = s.f.Config.Addresses(s.number)
		}
		addr := list[0]
		list = list[1:]
		served, err := s.oneStream(addr)
		s.mu.Lock()
		s.address, s.lastError, s.get = "", err, nil
		over := s.ended != nil || s.bad != nil
		s.mu.Unlock()
		if over {
			return
		}
		if served {
			backoff = 5 * time.Millisecond
			continue
		}
		if len(list) == 0 {
			// Every address has failed.
			select {
			case <-s.done:
				return
			case <-time.After(backoff):
			}
			backoff = min(2*backoff, 100*time.Millisecond)
		}
	}
}

// takeHome tells once after goHome.
func (s *flusherSlot) takeHome() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	home := s.home
	s.home = false
	return home
}

// goHome ends the stream and begins with the list of addresses again.
func (s *flusherSlot) goHome() {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.address != "" && !s.home { // else it is on its way
		s.home = true
		s.stream.Break()
	}
}

// oneStream says Hello on a node and serves the stream to its end. served: the
// host said Welcome.
func (s *flusherSlot) oneStream(addr string) (served bool, err error) {
	conn, err := Dial(addr)
	if err != nil {
		return false, err
	}
	defer conn.Close()
	st, err := s.hello(conn)
	if err != nil {
		return false, err
	}
	defer st.Break()
	m, err := st.Next(callTimeout, func(*holdfastv1.HostMessage) bool { return true })
	if err != nil {
		return false, err
	}
	if e := m.GetJobEnded(); e != nil {
		s.mu.Lock()
		s.ended = e
		s.mu.Unlock()
		return false, nil
	}
	w := m.GetWelcome()
	if w == nil {
		s.mu.Lock()
		s.violation("the first message down is %v, not Welcome", m)
		s.mu.Unlock()
		return false, nil
	}
	s.mu.Lock()
	s.address, s.stream = addr, st
	s.mu.Unlock()
	return true, s.serve(st, time.Duration(w.HeartbeatIntervalMs)*time.Millisecond, time.Duration(w.SessionTimeoutMs)*time.Millisecond)
}

func (s *flusherSlot) hello(conn *grpc.ClientConn) (*Stream, error) {
	st, err := OpenStream(conn)
	if err != nil {
		return nil, err
	}
	h := &holdfastv1.Hello{
		ProtocolVersion: 1, ClientName: "flusher", ClientVersion: "1", JobId: s.f.JobID,
		OperatorUids: []string{flusherSource, FlusherOperator}, InstanceId: s.instance, ProcessId: s.process,
	}
	s.mu.Lock()
	if s.attempt != 0 {
		h.Resume = &holdfastv1.ResumeAttempt{Attempt: s.attempt}
	}
	// Until Resume or Assign gives another one, no token is good on this stream.
	s.token = 0
	s.mu.Unlock()
	if err := st.Send(&holdfastv1.OperatorMessage{Message: &holdfastv1.OperatorMessage_Hello{Hello: h}}); err != nil {
		_, why := st.Next(callTimeout, func(*holdfastv1.HostMessage) bool { return false })
		st.Break()
		return nil, errors.Join(err, why)
	}
	return st, nil
}

// serve works on one stream until it breaks.
func (s *flusherSlot) serve(st *Stream, heartbeat, silence time.Duration) error {
	tick := time.NewTicker(heartbeat)
	defer tick.Stop()
	refill := time.NewTicker(max(s.f.Config.Pause, 10*time.Millisecond))
	defer refill.Stop()
	lastHeard, beat := time.Now(), uint64(0)
	for {
		for {
			m, err := st.TryNext()
			if errors.Is(err, errNothing) {
				break
			}
			if err != nil {
				return err
			}
			lastHeard = time.Now()
			if again := s.handle(m); !again {
				return fmt.Errorf("left the stream after %T", m.Message)
			}
		}
		if s.f.Config.Pause == 0 {
			s.fill()
		}
		select {
		case <-st.Wake():
		case <-refill.C:
			s.fill()
		case <-tick.C:
			beat++
			if time.Since(lastHeard) > silence {
				return fmt.Errorf("nothing was heard for %s", silence)
			}
			if err := st.Send(&holdfastv1.OperatorMessage{Message: &holdfastv1.OperatorMessage_Heartbeat{Heartbeat: &holdfastv1.Heartbeat{Sequence: beat}}}); err != nil && !errors.Is(err, io.EOF) {
				return err
			}
		case <-s.done:
			return errors.New("closed")
		}
	}
}

// fill sends flushes until the window is full, and now and then a Get.
func (s *flusherSlot) fill() {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.token == 0 || s.quiet || s.bad != nil {
		return
	}
	for len(s.frames) < s.f.Config.Window {
		s.sendFlush()
	}
	if s.full != nil {
		close(s.full)
		s.full = nil
	}
	if s.get == nil && s.seq%8 == 0 {
		s.sendGet()
	}
}

func (s *flusherSlot) sendFlush() {
	split := s.assign.Splits[int(s.seq)%len(s.assign.Splits)].Partition
	n := s.flushes[split]
	s.flushes[split] = n + 1
	s.stats.Flushes++
	s.seq++
	fr := frame{seq: s.seq, adds: map[string]int64{}, number: s.stats.Flushes}
	sec := &holdfastv1.FlushSection{StateId: s.stateID(), KeyGroup: s.keyGroup(split)}
	for i := range s.f.Config.Ops {
		key, delta := flusherOp(split, n, i, s.f.Config.Keys)
		fr.adds[key] += delta
		s.sent[key] += delta
		sec.Ops = append(sec.Ops, byte(holdfastv1.FlushOp_FLUSH_OP_ADD))
		sec.Keys = append(sec.Keys, key...)
		sec.KeyLengths = append(sec.KeyLengths, uint32(len(key)))
		sec.Values = binary.LittleEndian.AppendUint64(sec.Values, uint64(delta))
		sec.ValueLengths = append(sec.ValueLengths, 8)
	}
	fr.flush = &holdfastv1.Flush{Seq: s.seq, Sections: []*holdfastv1.FlushSection{sec}}
	s.f.Config.Observe.Sent(fr.number, fr.adds)
	s.send(fr)
}

func (s *flusherSlot) send(fr frame) {
	s.frames = append(s.frames, fr)
	// A broken stream shows when it is read; the frame goes again then.
	_ = s.stream.Send(fr.message(s.token))
}

func (s *flusherSlot) sendGet() {
	split := s.assign.Splits[int(s.getID)%len(s.assign.Splits)].Partition
	key, _ := flusherOp(split, int64(s.getID), 0, s.f.Config.Keys)
	s.getID++
	s.get = &openGet{id: s.getID, key: key, atLeast: s.durable[key]}
	_ = s.stream.Send(&holdfastv1.OperatorMessage{Message: &holdfastv1.OperatorMessage_Get{Get: &holdfastv1.Get{
		FencingToken: s.token, RequestId: s.getID,
		Sections: []*holdfastv1.KeySection{{StateId: s.stateID(), KeyGroup: s.keyGroup(split), Keys: []byte(key), KeyLengths: []uint32{uint32(len(key))}}},
	}}})
}

func (s *flusherSlot) stateID() uint32 {
	i := slices.IndexFunc(s.assign.StateIds, func(id *holdfastv1.StateId) bool {
		return id.OperatorUid == FlusherOperator && id.StateName == FlusherState
	})
	return s.assign.StateIds[i].Id
}

func (s *flusherSlot) keyGroup(partition uint32) *uint32 {
	if !s.assign.CoPartitioned {
		return nil
	}
	return &partition
}
