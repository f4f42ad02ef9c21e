package scenario

import (
	"errors"
	"io"
	"sync"
	"testing"
	"time"

	"google.golang.org/protobuf/proto"

	"github.com/holdfast-io/holdfast/integration/harness"
	holdfastv1 "github.com/holdfast-io/holdfast/proto/holdfast/v1"
)

// rawJob is a job whose operator is the test itself, message by message.
type rawJob struct {
	t      *testing.T
	c      *harness.Cluster
	node   int
	id     string
	config harness.FlusherConfig
}

func newRawJob(t *testing.T, c *harness.Cluster, node int, cfg harness.FlusherConfig) *rawJob {
	t.Helper()
	if cfg.Job == "" {
		cfg.Job = harness.RandomName("raw")
	}
	if cfg.Slots == 0 {
		cfg.Slots = 1
	}
	return &rawJob{t: t, c: c, node: node, config: cfg, id: c.MustSubmit(cfg.Spec())}
}

// rawSlot is a stream, and the subtask that it was given.
type rawSlot struct {
	*harness.Stream
	job    *rawJob
	id     *holdfastv1.Hello // what it said, if the test wants to say it again
	assign *holdfastv1.Assign
}

// keepAlive sends heartbeats until the stream ends.
func (s *rawSlot) keepAlive() {
	done := make(chan struct{})
	s.job.t.Cleanup(sync.OnceFunc(func() { close(done) }))
	go func() {
		tick := time.NewTicker(200 * time.Millisecond)
		defer tick.Stop()
		for n := uint64(1); ; n++ {
			select {
			case <-tick.C:
			case <-done:
				return
			}
			if s.Send(up(&holdfastv1.Heartbeat{Sequence: n})) != nil {
				return
			}
		}
	}()
}

func (j *rawJob) hello() *holdfastv1.Hello {
	return &holdfastv1.Hello{
		ProtocolVersion: 1, ClientName: "raw", JobId: j.id, InstanceId: harness.RandomName("slot"), ProcessId: harness.RandomName("process"),
		OperatorUids: []string{j.config.Spec().Operators[0].Uid, harness.FlusherOperator},
	}
}

// open opens a stream without a word.
func (j *rawJob) open() *rawSlot {
	j.t.Helper()
	st, err := harness.OpenStream(j.c.Conn(j.node))
	if err != nil {
		j.t.Fatal(err)
	}
	j.t.Cleanup(st.Break)
	return &rawSlot{Stream: st, job: j}
}

// assigned opens a stream, says Hello, and waits for the subtask.
func (j *rawJob) assigned() *rawSlot {
	j.t.Helper()
	s := j.open()
	s.send(up(j.hello()))
	s.await("an assignment", func(m *holdfastv1.HostMessage) bool { return s.take(m) })
	return s
}

// take answers discovery and keeps an assignment.
func (s *rawSlot) take(m *holdfastv1.HostMessage) bool {
	if d := m.GetDiscoverSplits(); d != nil {
		found := &holdfastv1.SplitsFound{OperatorUid: d.OperatorUid}
		for p := range s.job.config.Slots {
			found.Splits = append(found.Splits, &holdfastv1.Split{Topic: "t", Partition: uint32(p), StartOffset: new(int64)})
		}
		s.send(up(found))
	}
	if a := m.GetAssign(); a != nil {
		s.assign = a
		return true
	}
	return false
}

func (s *rawSlot) send(m *holdfastv1.OperatorMessage) {
	s.job.t.Helper()
	// The reason for a broken stream comes when it is read.
	if err := s.Send(m); err != nil && !errors.Is(err, io.EOF) {
		s.job.t.Fatalf("send: %v", err)
	}
}

func (s *rawSlot) await(what string, accept func(*holdfastv1.HostMessage) bool) *holdfastv1.HostMessage {
	s.job.t.Helper()
	m, err := s.Next(harness.Patience(), accept)
	if err != nil {
		s.job.t.Fatalf("waited for %s: %v", what, err)
	}
	return m
}

// awaitAck waits until a frame is acknowledged.
func (s *rawSlot) awaitAck(seq uint64) {
	s.job.t.Helper()
	s.await("an acknowledgement", func(m *holdfastv1.HostMessage) bool {
		if r := m.GetRefused(); r != nil {
			s.job.t.Fatalf("flush %d was refused: %v", r.Seq, r.Error)
		}
		return m.GetFlushAck().GetThroughSeq() >= seq
	})
}

// up wraps a message for the way up.
func up(m proto.Message) *holdfastv1.OperatorMessage {
	switch x := m.(type) {
	case *holdfastv1.Hello:
		return &holdfastv1.OperatorMessage{Message: &holdfastv1.OperatorMessage_Hello{Hello: x}}
	case *holdfastv1.SplitsFound:
		return &holdfastv1.OperatorMessage{Message: &holdfastv1.OperatorMessage_SplitsFound{SplitsFound: x}}
	case *holdfastv1.Heartbeat:
		return &holdfastv1.OperatorMessage{Message: &holdfastv1.OperatorMessage_Heartbeat{Heartbeat: x}}
	case *holdfastv1.Get:
		return &holdfastv1.OperatorMessage{Message: &holdfastv1.OperatorMessage_Get{Get: x}}
	case *holdfastv1.Flush:
		return &holdfastv1.OperatorMessage{Message: &holdfastv1.OperatorMessage_Flush{Flush: x}}
	case *holdfastv1.BarrierPassed:
		return &holdfastv1.OperatorMessage{Message: &holdfastv1.OperatorMessage_BarrierPassed{BarrierPassed: x}}
	case *holdfastv1.CheckpointReady:
		return &holdfastv1.OperatorMessage{Message: &holdfastv1.OperatorMessage_CheckpointReady{CheckpointReady: x}}
	case *holdfastv1.Failed:
		return &holdfastv1.OperatorMessage{Message: &holdfastv1.OperatorMessage_Failed{Failed: x}}
	case *holdfastv1.Finished:
		return &holdfastv1.OperatorMessage{Message: &holdfastv1.OperatorMessage_Finished{Finished: x}}
	}
	return &holdfastv1.OperatorMessage{}
}

// flush is a flush that puts one value; change makes it a bad one.
func (s *rawSlot) flush(seq uint64, change func(*holdfastv1.Flush, *holdfastv1.FlushSection)) *holdfastv1.OperatorMessage {
	f := &holdfastv1.Flush{FencingToken: s.assign.FencingToken, Seq: seq, Sections: []*holdfastv1.FlushSection{{
		StateId: s.assign.StateIds[0].Id, Ops: []byte{byte(holdfastv1.FlushOp_FLUSH_OP_PUT)},
		Keys: []byte("a"), KeyLengths: []uint32{1}, Values: make([]byte, 8), ValueLengths: []uint32{8},
	}}}
	if s.assign.CoPartitioned {
		f.Sections[0].KeyGroup = &s.assign.KeyGroupStart
	}
	if change != nil {
		change(f, f.Sections[0])
	}
	return up(f)
}

func (s *rawSlot) get(change func(*holdfastv1.Get, *holdfastv1.KeySection)) *holdfastv1.OperatorMessage {
	g := &holdfastv1.Get{FencingToken: s.assign.FencingToken, RequestId: 1, Sections: []*holdfastv1.KeySection{{
		StateId: s.assign.StateIds[0].Id, Keys: []byte("a"), KeyLengths: []uint32{1},
	}}}
	if change != nil {
		change(g, g.Sections[0])
	}
	return up(g)
}
