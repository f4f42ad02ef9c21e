package bench

import (
	"context"
	"crypto/rand"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"sync"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/protobuf/proto"

	"github.com/holdfast-io/holdfast/cmd/holdfast/internal/bug"
	"github.com/holdfast-io/holdfast/cmd/holdfast/internal/jobs"
	holdfastv1 "github.com/holdfast-io/holdfast/proto/holdfast/v1"
)

// The operators of a measurement's job and its state.
const (
	sourceUID = "bench-source"
	countUID  = "bench-counter"
	stateName = "count"
	topic     = "bench"
	// maxStateBytes is far above what any measurement writes.
	maxStateBytes = 256 << 20
	// beatEvery is well within the session timeout.
	beatEvery = time.Second
)

// slot is a stream that speaks the protocol itself and holds the one subtask of
// a job. It is for one goroutine, and another one that only receives acks.
type slot struct {
	c      *cluster
	job    string
	stream holdfastv1.OperatorService_RunClient
	jobs   holdfastv1.JobServiceClient // on the same node
	cancel context.CancelFunc

	token   uint64
	state   uint32
	seq     uint64
	request uint64
	// want is what the state must hold, by key.
	want map[int]int64
	// position is the next offset of the source, told at checkpoints.
	position int64

	sending sync.Mutex // heartbeats come from a goroutine of their own
	acks    chan uint64
	values  chan *holdfastv1.Values
	control chan *holdfastv1.HostMessage
	ended   chan struct{}
	err     error // why, after ended
}

// jobName makes a name that no other job has.
func jobName() string { return "bench-" + rand.Text()[:8] }

// spec is the job of a slot. Checkpoints are enabled with any interval above 0.
func spec(name string, interval time.Duration) *holdfastv1.JobSpec {
	s := &holdfastv1.JobSpec{
		Name: name, StateBackend: &holdfastv1.StateBackend{MemoryMaxSize: maxStateBytes},
		Operators: []*holdfastv1.Operator{
			{Uid: sourceUID, Name: "source", Parallelism: 1, Source: &holdfastv1.SourceSpec{Connector: "bench", Topics: []string{topic}}},
			{Uid: countUID, Name: "counter", Parallelism: 1,
				Inputs: []*holdfastv1.OperatorInput{{OperatorUid: sourceUID, Partitioning: holdfastv1.Partitioning_PARTITIONING_HASH}},
				States: []*holdfastv1.StateDescriptor{{Name: stateName, Kind: holdfastv1.StateKind_STATE_KIND_VALUE, Type: "int64"}}},
		},
	}
	if interval > 0 {
		s.Checkpoint = &holdfastv1.CheckpointConfig{IntervalMs: uint64(interval.Milliseconds())}
	}
	return s
}

// openSlot submits a job and takes its subtask on a node.
func (c *cluster) openSlot(ctx context.Context, address string, interval time.Duration) (*slot, error) {
	conn, err := c.conn(address)
	if err != nil {
		return nil, err
	}
	s := &slot{
		c: c, job: jobName(), jobs: holdfastv1.NewJobServiceClient(conn), want: map[int]int64{}, acks: make(chan uint64, 4096),
		values: make(chan *holdfastv1.Values, 64), control: make(chan *holdfastv1.HostMessage, 256), ended: make(chan struct{}),
	}
	submitted, err := jobs.Call(ctx, c.calls, func(ctx context.Context, j holdfastv1.JobServiceClient) (*holdfastv1.SubmitResponse, error) {
		return j.Submit(ctx, &holdfastv1.SubmitRequest{Spec: spec(s.job, interval), SubmissionId: s.job})
	})
	if err != nil {
		return nil, fmt.Errorf("submit the job of the measurement: %w", err)
	}
	ctx, s.cancel = context.WithCancel(ctx)
	if s.stream, err = holdfastv1.NewOperatorServiceClient(conn).Run(ctx); err != nil {
		s.cancel()
		return nil, err
	}
	bug.Go(func() { s.receive() })
	if err := s.begin(submitted.JobId); err != nil {
		s.close()
		return nil, fmt.Errorf("take the subtask of the measurement: %w", err)
	}
	bug.Go(func() { s.beat(ctx) })
	return s, nil
}

// hello opens the stream of the one slot of a job, in a process.
func hello(job, process string) *holdfastv1.OperatorMessage {
	return &holdfastv1.OperatorMessage{Message: &holdfastv1.OperatorMessage_Hello{Hello: &holdfastv1.Hello{
		ProtocolVersion: 1, ClientName: "holdfast-bench", JobId: job, OperatorUids: []string{sourceUID, countUID},
		InstanceId: rand.Text(), ProcessId: process,
	}}}
}

// oneSplit answers the discovery of splits.
func oneSplit() *holdfastv1.OperatorMessage {
	return &holdfastv1.OperatorMessage{Message: &holdfastv1.OperatorMessage_SplitsFound{SplitsFound: &holdfastv1.SplitsFound{
		OperatorUid: sourceUID, Splits: []*holdfastv1.Split{{Topic: topic, StartOffset: proto.Int64(0)}},
	}}}
}

func (s *slot) begin(job string) error {
	err := s.send(hello(job, s.job))
	for err == nil {
		var m *holdfastv1.HostMessage
		if m, err = next(s, s.control); err != nil {
			return err
		}
		switch x := m.GetMessage().(type) {
		case *holdfastv1.HostMessage_DiscoverSplits:
			err = s.send(oneSplit())
		case *holdfastv1.HostMessage_Assign:
			s.token, s.state = x.Assign.FencingToken, x.Assign.StateIds[0].Id
			return nil
		}
	}
	return err
}

// close leaves the job and its stream. The job is canceled, so that a cluster
// that was there before is left as it was.
func (s *slot) close() {
	s.c.cancelJob(s.job)
	s.cancel()
	<-s.ended
}

func (s *slot) send(m *holdfastv1.OperatorMessage) error {
	s.sending.Lock()
	defer s.sending.Unlock()
	if err := s.stream.Send(m); err != nil {
		if errors.Is(err, io.EOF) {
			<-s.ended
			err = s.err
		}
		return fmt.Errorf("the stream of the measurement broke: %w", err)
	}
	return nil
}

func (s *slot) beat(ctx context.Context) {
	t := time.NewTicker(beatEvery)
	defer t.Stop()
	for n := uint64(1); ; n++ {
		select {
		case <-t.C:
			if s.send(&holdfastv1.OperatorMessage{Message: &holdfastv1.OperatorMessage_Heartbeat{Heartbeat: &holdfastv1.Heartbeat{Sequence: n}}}) != nil {
				return
			}
		case <-ctx.Done():
			return
		}
	}
}

// receive sorts what comes down until the stream ends.
func (s *slot) receive() {
	defer close(s.ended)
	for {
		m, err := s.stream.Recv()
		if err != nil {
			s.err = err
			return
		}
		switch x := m.GetMessage().(type) {
		case *holdfastv1.HostMessage_FlushAck:
			s.acks <- x.FlushAck.ThroughSeq
		case *holdfastv1.HostMessage_Values:
			s.values <- x.Values
		case *holdfastv1.HostMessage_HeartbeatEcho, *holdfastv1.HostMessage_Welcome:
		case *holdfastv1.HostMessage_Refused:
			s.err = fmt.Errorf("a flush was refused: %s", x.Refused.GetError().GetMessage())
			return
		default:
			select {
			case s.control <- m:
			default: // completions that nobody waits for
			}
		}
	}
}

// next waits for what one of the channels of a slot brings.
func next[T any](s *slot, ch <-chan T) (v T, err error) {
	t := time.NewTimer(s.c.patience())
	defer t.Stop()
	select {
	case v = <-ch:
		return v, nil
	case <-s.ended:
		return v, fmt.Errorf("the stream of the measurement ended: %w", s.err)
	case <-t.C:
		return v, errors.New("the node did not answer the measurement in time")
	}
}

func keyColumn(keys []int) (lengths []uint32, packed []byte) {
	for _, k := range keys {
		lengths = append(lengths, 16)
		packed = fmt.Appendf(packed, "key-%012d", k)
	}
	return lengths, packed
}

// flush sends one operation for each key and returns its seq. With PUT values
// are what the keys become, with ADD what is added.
func (s *slot) flush(op holdfastv1.FlushOp, keys []int, values func(i int) int64) (uint64, error) {
	sec := &holdfastv1.FlushSection{StateId: s.state}
	sec.KeyLengths, sec.Keys = keyColumn(keys)
	for i, k := range keys {
		v := values(i)
		sec.Ops = append(sec.Ops, byte(op))
		sec.ValueLengths = append(sec.ValueLengths, 8)
		sec.Values = binary.LittleEndian.AppendUint64(sec.Values, uint64(v))
		if op == holdfastv1.FlushOp_FLUSH_OP_ADD {
			v += s.want[k]
		}
		s.want[k] = v
	}
	s.seq++
	return s.seq, s.send(&holdfastv1.OperatorMessage{Message: &holdfastv1.OperatorMessage_Flush{Flush: &holdfastv1.Flush{
		FencingToken: s.token, Seq: s.seq, Sections: []*holdfastv1.FlushSection{sec}}}})
}

// addOne is a flush that adds one to each key.
func (s *slot) addOne(keys []int) (uint64, error) {
	return s.flush(holdfastv1.FlushOp_FLUSH_OP_ADD, keys, func(int) int64 { return 1 })
}

// acked waits until everything through seq is durable.
func (s *slot) acked(seq uint64) error {
	for {
		through, err := next(s, s.acks)
		if err != nil || through >= seq {
			return err
		}
	}
}

// get reads the values of keys; absent is 0.
func (s *slot) get(keys []int) ([]int64, error) {
	s.request++
	sec := &holdfastv1.KeySection{StateId: s.state}
	sec.KeyLengths, sec.Keys = keyColumn(keys)
	err := s.send(&holdfastv1.OperatorMessage{Message: &holdfastv1.OperatorMessage_Get{Get: &holdfastv1.Get{
		FencingToken: s.token, RequestId: s.request, Sections: []*holdfastv1.KeySection{sec}}}})
	if err != nil {
		return nil, err
	}
	out := make([]int64, 0, len(keys))
	for {
		page, err := next(s, s.values)
		if err != nil {
			return nil, err
		}
		for _, v := range page.Sections {
			at := 0
			for i, found := range v.Found {
				n := int64(0)
				if found == 1 {
					n = int64(binary.LittleEndian.Uint64(v.Values[at:]))
				}
				out = append(out, n)
				at += int(v.ValueLengths[i])
			}
		}
		if page.Last {
			return out, nil
		}
	}
}

// check compares the state with what it must hold: every acknowledged change is
// there once.
func (s *slot) check(ctx context.Context) error {
	got, err := s.c.scan(ctx, &holdfastv1.StateSelector{Job: s.job, OperatorUid: countUID, StateName: stateName})
	if err != nil {
		return fmt.Errorf("read the counts of the measurement: %w", err)
	}
	if len(got) != len(s.want) {
		return fmt.Errorf("the counts are wrong: %d keys, and there must be %d", len(got), len(s.want))
	}
	for k, want := range s.want {
		if n := got[fmt.Sprintf("key-%012d", k)]; n != want {
			return fmt.Errorf("the counts are wrong: key %d has %d, and it must have %d", k, n, want)
		}
	}
	return nil
}

// scan reads a whole state of int64 values.
func (c *cluster) scan(ctx context.Context, state *holdfastv1.StateSelector) (map[string]int64, error) {
	const pageSize = 10_000
	out := map[string]int64{}
	var token []byte
	for {
		var page *holdfastv1.ScanResponse
		err := c.calls.Do(ctx, func(ctx context.Context, conn grpc.ClientConnInterface) (err error) {
			page, err = holdfastv1.NewStateServiceClient(conn).Scan(ctx, &holdfastv1.ScanRequest{State: state, PageSize: pageSize, PageToken: token})
			return err
		})
		if err != nil {
			return nil, err
		}
		for _, e := range page.Entries {
			if len(e.Value) != 8 {
				return nil, fmt.Errorf("the value of %q has %d bytes, not 8", e.Key, len(e.Value))
			}
			out[string(e.Key)] = int64(binary.LittleEndian.Uint64(e.Value))
		}
		if token = page.NextPageToken; len(token) == 0 {
			return out, nil
		}
	}
}
