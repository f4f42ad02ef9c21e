package bench

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"sync"
	"time"

	"google.golang.org/grpc"

	"github.com/holdfast-io/holdfast/cmd/holdfast/internal/bug"
	"github.com/holdfast-io/holdfast/cmd/holdfast/internal/connect"
	"github.com/holdfast-io/holdfast/cmd/holdfast/internal/jobs"
	holdfastv1 "github.com/holdfast-io/holdfast/proto/holdfast/v1"
)

// lane is a slot for throughput: a stream with a connection of its own, frames that
// are used again, and no working copy. It is for one goroutine, heartbeats apart.
type lane struct {
	c      *cluster
	job    string
	conn   *grpc.ClientConn
	stream holdfastv1.OperatorService_RunClient
	cancel context.CancelFunc

	sending sync.Mutex // heartbeats come from a goroutine of their own

	token, seq, acked, request uint64
	get                        *holdfastv1.KeySection
	getMessage                 *holdfastv1.OperatorMessage
	put                        *holdfastv1.FlushSection
	putMessage                 *holdfastv1.OperatorMessage
	// barrier is the newest checkpoint that the host asked for.
	barrier uint64
}

// laneWindow is how many flushes of a batch may be in flight; the protocol allows 64.
const laneWindow = 32

// openLane submits a job on a backend and takes its one subtask.
func (c *cluster) openLane(ctx context.Context, address string, job *holdfastv1.JobSpec) (l *lane, err error) {
	l = &lane{c: c, job: job.Name}
	l.get, l.put = &holdfastv1.KeySection{}, &holdfastv1.FlushSection{}
	l.getMessage = &holdfastv1.OperatorMessage{Message: &holdfastv1.OperatorMessage_Get{Get: &holdfastv1.Get{Sections: []*holdfastv1.KeySection{l.get}}}}
	l.putMessage = &holdfastv1.OperatorMessage{Message: &holdfastv1.OperatorMessage_Flush{Flush: &holdfastv1.Flush{Sections: []*holdfastv1.FlushSection{l.put}}}}
	if l.conn, err = connect.Dial(address, c.cfg.Client); err != nil {
		return nil, err
	}
	ctx, l.cancel = context.WithCancel(ctx)
	submitted, err := jobs.Call(ctx, c.calls, func(ctx context.Context, j holdfastv1.JobServiceClient) (*holdfastv1.SubmitResponse, error) {
		return j.Submit(ctx, &holdfastv1.SubmitRequest{Spec: job, SubmissionId: job.Name})
	})
	if err != nil {
		err = fmt.Errorf("submit the job of the measurement: %w", err)
	} else if l.stream, err = holdfastv1.NewOperatorServiceClient(l.conn).Run(ctx); err == nil {
		err = l.begin(submitted.JobId)
	}
	if err != nil {
		l.close()
		return nil, fmt.Errorf("take the subtask of the measurement: %w", err)
	}
	bug.Go(func() { l.beat(ctx) })
	return l, nil
}

func (l *lane) begin(job string) error {
	err := l.send(hello(job, l.job))
	for err == nil {
		var m *holdfastv1.HostMessage
		if m, err = l.stream.Recv(); err != nil {
			break
		}
		switch x := m.GetMessage().(type) {
		case *holdfastv1.HostMessage_DiscoverSplits:
			err = l.send(oneSplit())
		case *holdfastv1.HostMessage_Assign:
			l.token, l.get.StateId, l.put.StateId = x.Assign.FencingToken, x.Assign.StateIds[0].Id, x.Assign.StateIds[0].Id
			return nil
		}
	}
	return err
}

// close cancels the job, so that a cluster that was there before is left as it was.
func (l *lane) close() {
	l.c.cancelJob(l.job)
	l.cancel()
	_ = l.conn.Close() // nothing was written that could be lost
}

func (l *lane) send(m *holdfastv1.OperatorMessage) error {
	l.sending.Lock()
	defer l.sending.Unlock()
	return l.stream.Send(m)
}

func (l *lane) beat(ctx context.Context) {
	t := time.NewTicker(beatEvery)
	defer t.Stop()
	for n := uint64(1); ; n++ {
		select {
		case <-t.C:
			if l.send(&holdfastv1.OperatorMessage{Message: &holdfastv1.OperatorMessage_Heartbeat{Heartbeat: &holdfastv1.Heartbeat{Sequence: n}}}) != nil {
				return
			}
		case <-ctx.Done():
			return
		}
	}
}

// receive takes one message; values are nil unless it is a page of an answer.
func (l *lane) receive() (*holdfastv1.Values, error) {
	m, err := l.stream.Recv()
	if err != nil {
		return nil, fmt.Errorf("the stream of the measurement broke: %w", err)
	}
	switch x := m.GetMessage().(type) {
	case *holdfastv1.HostMessage_FlushAck:
		l.acked = x.FlushAck.ThroughSeq
	case *holdfastv1.HostMessage_Values:
		return x.Values, nil
	case *holdfastv1.HostMessage_Barrier:
		l.barrier = max(l.barrier, x.Barrier.CheckpointId)
	case *holdfastv1.HostMessage_Refused:
		return nil, fmt.Errorf("a flush was refused: %s", x.Refused.GetError().GetMessage())
	case *holdfastv1.HostMessage_Revoke, *holdfastv1.HostMessage_JobEnded, *holdfastv1.HostMessage_GoAway, *holdfastv1.HostMessage_Fenced:
		return nil, errors.New("the job of the measurement was ended or moved")
	}
	return nil, nil
}

// read asks for the keys of a batch and calls each with the value of every key, 0
// where there is none, in their order.
func (l *lane) read(batch []uint32, each func(i int, n uint64) error) error {
	l.request++
	g := l.getMessage.GetGet()
	g.FencingToken, g.RequestId = l.token, l.request
	l.get.KeyLengths, l.get.Keys = columns(l.get.KeyLengths, l.get.Keys, batch)
	if err := l.send(l.getMessage); err != nil {
		return err
	}
	for i := 0; ; {
		page, err := l.receive()
		if err != nil {
			return err
		}
		for _, sec := range page.GetSections() {
			at := 0
			for j, found := range sec.Found {
				n := uint64(0)
				if found == 1 {
					n = binary.LittleEndian.Uint64(sec.Values[at:])
				}
				at += int(sec.ValueLengths[j])
				if err := each(i, n); err != nil {
					return err
				}
				i++
			}
		}
		if page.GetLast() {
			if i != len(batch) {
				return fmt.Errorf("a Get of %d keys was answered with %d values", len(batch), i)
			}
			return nil
		}
	}
}

// count reads a batch, adds 1 to each value, and writes it. The flush is on its way
// when count returns.
func (l *lane) count(batch []uint32) error {
	p := l.put
	p.Values = p.Values[:0]
	if err := l.read(batch, func(_ int, n uint64) error {
		p.Values = binary.LittleEndian.AppendUint64(p.Values, n+1)
		return nil
	}); err != nil {
		return err
	}
	p.KeyLengths, p.Keys = l.get.KeyLengths, l.get.Keys
	for len(p.Ops) < len(batch) {
		p.Ops, p.ValueLengths = append(p.Ops, byte(holdfastv1.FlushOp_FLUSH_OP_PUT)), append(p.ValueLengths, valueBytes)
	}
	p.Ops, p.ValueLengths = p.Ops[:len(batch)], p.ValueLengths[:len(batch)]
	l.seq++
	f := l.putMessage.GetFlush()
	f.FencingToken, f.Seq = l.token, l.seq
	if err := l.send(l.putMessage); err != nil {
		return err
	}
	return l.settle(laneWindow)
}

// settle waits until fewer than n flushes are in flight, or none with 1.
func (l *lane) settle(n uint64) error {
	for l.seq-l.acked >= n {
		if _, err := l.receive(); err != nil {
			return err
		}
	}
	return nil
}

// run counts the batches of a load and waits for all acks.
func (l *lane) run(o *load) error {
	for _, b := range o.batches {
		if err := l.count(b); err != nil {
			return err
		}
	}
	return l.settle(1)
}

// check reads every key and compares it with what it must have.
func (l *lane) check(o *load) error {
	batch := make([]uint32, 0, batchKeys)
	for k := 0; k < len(o.want); k += len(batch) {
		batch = batch[:0]
		for i := k; i < min(k+batchKeys, len(o.want)); i++ {
			batch = append(batch, uint32(i))
		}
		if err := l.read(batch, func(i int, n uint64) error { return o.check(batch[i], n) }); err != nil {
			return err
		}
	}
	return nil
}

func columns(lengths []uint32, packed []byte, batch []uint32) ([]uint32, []byte) {
	lengths, packed = lengths[:0], packed[:0]
	for _, k := range batch {
		lengths, packed = append(lengths, keyBytes), appendKey(packed, k)
	}
	return lengths, packed
}
