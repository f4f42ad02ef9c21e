package bench

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"testing"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/protobuf/proto"

	"github.com/holdfast-io/holdfast/integration/harness"
	holdfastv1 "github.com/holdfast-io/holdfast/proto/holdfast/v1"
)

// patience bounds every wait for a frame.
const patience = 30 * time.Second

// slot is a raw stream that holds the one subtask of a job.
type slot struct {
	b      testing.TB
	stream *harness.Stream
	token  uint64
	state  uint32
	seq    uint64
	beat   time.Time
}

// openSlot submits a job without checkpoints and takes its subtask on a node.
func openSlot(b testing.TB, c *harness.Cluster, node int) *slot {
	b.Helper()
	spec := harness.FlusherConfig{Job: harness.RandomName("bench"), MaxBytes: 256 << 20}.Spec()
	for _, o := range spec.Operators {
		o.Parallelism = 1
		for _, in := range o.Inputs {
			in.Partitioning = holdfastv1.Partitioning_PARTITIONING_HASH
		}
	}
	id := c.MustSubmit(spec)
	st, err := harness.OpenStream(c.Conn(node))
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(st.Break)
	s := &slot{b: b, stream: st, beat: time.Now()}
	uids := []string{spec.Operators[0].Uid, spec.Operators[1].Uid}
	s.send(&holdfastv1.OperatorMessage{Message: &holdfastv1.OperatorMessage_Hello{Hello: &holdfastv1.Hello{
		ProtocolVersion: 1, ClientName: "bench", JobId: id, OperatorUids: uids, InstanceId: harness.RandomName("i"), ProcessId: "bench"}}})
	s.next(func(m *holdfastv1.HostMessage) bool { return m.GetDiscoverSplits() != nil })
	s.send(&holdfastv1.OperatorMessage{Message: &holdfastv1.OperatorMessage_SplitsFound{SplitsFound: &holdfastv1.SplitsFound{
		OperatorUid: uids[0], Splits: []*holdfastv1.Split{{Topic: "bench", StartOffset: proto.Int64(0)}}}}})
	a := s.next(func(m *holdfastv1.HostMessage) bool { return m.GetAssign() != nil }).GetAssign()
	s.token, s.state = a.FencingToken, a.StateIds[0].Id
	return s
}

func (s *slot) send(m *holdfastv1.OperatorMessage) {
	s.b.Helper()
	if err := s.stream.Send(m); err != nil {
		s.b.Fatal(errors.Join(err, s.stream.End(time.Second)))
	}
}

func (s *slot) next(accept func(*holdfastv1.HostMessage) bool) *holdfastv1.HostMessage {
	s.b.Helper()
	m, err := s.stream.Next(patience, accept)
	if err != nil {
		s.b.Fatal(err)
	}
	return m
}

// flush sends n changes to keys first, first+1, … and returns the seq.
func (s *slot) flush(first, n int) uint64 {
	s.b.Helper()
	if time.Since(s.beat) > time.Second {
		s.beat = time.Now()
		s.send(&holdfastv1.OperatorMessage{Message: &holdfastv1.OperatorMessage_Heartbeat{Heartbeat: &holdfastv1.Heartbeat{}}})
	}
	s.seq++
	sec := &holdfastv1.FlushSection{StateId: s.state}
	for i := range n {
		sec.Ops = append(sec.Ops, byte(holdfastv1.FlushOp_FLUSH_OP_PUT))
		sec.KeyLengths = append(sec.KeyLengths, 16)
		sec.Keys = fmt.Appendf(sec.Keys, "key-%012d", first+i)
		sec.ValueLengths = append(sec.ValueLengths, 8)
		sec.Values = binary.LittleEndian.AppendUint64(sec.Values, s.seq)
	}
	s.send(&holdfastv1.OperatorMessage{Message: &holdfastv1.OperatorMessage_Flush{Flush: &holdfastv1.Flush{
		FencingToken: s.token, Seq: s.seq, Sections: []*holdfastv1.FlushSection{sec}}}})
	return s.seq
}

// acked waits for the next ack and returns how far it goes.
func (s *slot) acked() uint64 {
	s.b.Helper()
	return s.next(func(m *holdfastv1.HostMessage) bool { return m.GetFlushAck() != nil }).GetFlushAck().ThroughSeq
}

// commandsApplied asks a node how many commands it has applied since its start.
func commandsApplied(b testing.TB, c *harness.Cluster, node int) (n uint64) {
	b.Helper()
	err := c.On(node, func(ctx context.Context, conn *grpc.ClientConn) error {
		r, err := holdfastv1.NewClusterServiceClient(conn).Describe(ctx, &holdfastv1.ClusterServiceDescribeRequest{})
		n = r.GetCommandsApplied()
		return err
	})
	if err != nil {
		b.Fatal(err)
	}
	return n
}
