package scenario

import (
	"errors"
	"fmt"
	"runtime"
	"sync"
	"testing"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"

	"github.com/holdfast-io/holdfast/integration/harness"
	holdfastv1 "github.com/holdfast-io/holdfast/proto/holdfast/v1"
)

// full is what a stream above the bound of a node is told.
func full(limit int) failure {
	return failure{
		code: codes.ResourceExhausted, reason: "OVERLOADED", outcome: "not_applied", retry: true,
		message: fmt.Sprintf("this node has %d streams open, as many as max-streams allows; go to another node, or raise max-streams", limit),
	}
}

// TooManyStreams opens more streams on one node than limit, its max-streams,
// from a few connections: those above it are refused with a reason, what the
// node has goes on, other nodes take streams, and so does this one once some
// have ended (invariant 13).
func TooManyStreams(t *testing.T, c *harness.Cluster, limit, ask int) {
	node := c.Followers()[0]
	healthy := harness.StartFlusher(c, harness.FlusherConfig{
		Job: "healthy", CheckpointMs: 100, Pause: traffic, Addresses: func(int) []string { return c.Addresses(node) },
	})
	healthy.WaitAcked(20)
	j := newRawJob(t, c, node, harness.FlusherConfig{CheckpointMs: 3_600_000})
	before := memoryOf(t, c, node)
	streams, refused := openMany(t, c, j, ask, full(limit))
	used := memoryOf(t, c, node) - before
	t.Logf("%d of %d streams are open, %d were refused; they take %d KiB of memory, %d bytes each", len(streams), ask, refused, used>>10, used/int64(max(1, len(streams))))
	// The flusher has one.
	if len(streams) != limit-1 || refused != ask-limit+1 {
		t.Errorf("%d streams are open and %d refused, with a limit of %d and one that was there", len(streams), refused, limit)
	}
	if perStream := used / int64(limit); perStream > maxStreamBytes {
		t.Errorf("a stream takes %d bytes of memory, at most %d are expected", perStream, maxStreamBytes)
	}
	healthy.WaitAcked(20)
	if n := healthy.Stats().Resumes; n != 0 {
		t.Errorf("the healthy job on the same node had to resume %d times", n)
	}
	other := newRawJob(t, c, (node+1)%c.Size(), harness.FlusherConfig{CheckpointMs: 3_600_000})
	other.assigned()
	for _, s := range streams {
		s.Break()
	}
	harness.Until(t, "room for a stream", func() error {
		s := j.open()
		s.send(up(j.hello()))
		_, err := s.Next(harness.Patience(), func(m *holdfastv1.HostMessage) bool { return m.GetWelcome() != nil })
		return err
	})
	checkFlusher(t, healthy)
}

// maxStreamBytes is far above what a stream that stands by takes in its node,
// client and server in one process.
const maxStreamBytes = 512 << 10

// openMany opens streams that say Hello and stand by, over a few connections,
// and counts those that are refused.
func openMany(t *testing.T, c *harness.Cluster, j *rawJob, n int, above failure) (open []*rawSlot, refused int) {
	t.Helper()
	const perConn = 500
	var mu sync.Mutex
	var wg sync.WaitGroup
	for from := 0; from < n; from += perConn {
		conn, err := harness.Dial(c.Node(j.node).ClientAddress)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = conn.Close() }) // its streams are gone
		wg.Go(func() {
			for range min(perConn, n-from) {
				s, err := j.tryStandby(conn)
				mu.Lock()
				if err == nil {
					open = append(open, s)
				} else {
					refused++
					expectFailure(t, "a stream above the limit", err, above)
				}
				mu.Unlock()
			}
		})
	}
	done := make(chan struct{})
	defer close(done)
	go func() {
		for n := uint64(1); ; n++ {
			select {
			case <-time.After(time.Second):
			case <-done:
				return
			}
			mu.Lock()
			for _, s := range open {
				_ = s.Send(up(&holdfastv1.Heartbeat{Sequence: n})) // one that broke is counted
			}
			mu.Unlock()
		}
	}()
	wg.Wait()
	return open, refused
}

// tryStandby opens a stream up to its Welcome.
func (j *rawJob) tryStandby(conn *grpc.ClientConn) (*rawSlot, error) {
	st, err := harness.OpenStream(conn)
	if err != nil {
		return nil, err
	}
	s := &rawSlot{Stream: st, job: j}
	h := j.hello()
	h.OperatorUids = []string{"none-of-the-job"}
	s.send(up(h))
	_, err = s.Next(harness.Patience(), func(m *holdfastv1.HostMessage) bool { return m.GetWelcome() != nil })
	return s, err
}

// memoryOf is the memory of a node in bytes: of its process, or, where it is part
// of this one, of this one.
func memoryOf(t *testing.T, c *harness.Cluster, node int) int64 {
	t.Helper()
	if pid := c.Pid(node); pid != 0 {
		n, err := harness.ResidentBytes(pid)
		if err != nil {
			t.Fatal(err)
		}
		return n
	}
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return int64(m.HeapInuse + m.StackInuse)
}

// NeverReads asks for far more than it reads: its stream ends with a reason, the
// node keeps a bounded part of the answers, and another job on it goes on.
func NeverReads(t *testing.T, c *harness.Cluster) {
	const values, valueBytes, asks = 40, 100 << 10, 60
	node := c.Followers()[0]
	healthy := harness.StartFlusher(c, harness.FlusherConfig{
		Job: "healthy", CheckpointMs: 100, Pause: traffic, Addresses: func(int) []string { return c.Addresses(node) },
	})
	j := newRawBytesJob(t, c, node)
	s := j.assigned()
	keys, lengths := "", []uint32{}
	for i := range values {
		key := fmt.Sprintf("key-%04d", i)
		keys, lengths = keys+key, append(lengths, uint32(len(key)))
		s.send(s.flush(uint64(i+1), func(_ *flushMsg, sec *flushSection) {
			sec.Keys, sec.KeyLengths = []byte(key), []uint32{uint32(len(key))}
			sec.Values, sec.ValueLengths = make([]byte, valueBytes), []uint32{valueBytes}
		}))
		s.awaitAck(uint64(i + 1))
	}
	before := memoryOf(t, c, node)
	for i := range asks {
		s.send(s.get(func(g *holdfastv1.Get, k *holdfastv1.KeySection) {
			g.RequestId, k.Keys, k.KeyLengths = uint64(i+1), []byte(keys), lengths
		}))
	}
	// From here on there is always a page that is too large for what is not read;
	// echoes alone might fit.
	s.await("the first values", func(m *holdfastv1.HostMessage) bool { return m.GetValues() != nil })
	s.StopReading()
	// Few enough for the flow control of a stream that its host no longer reads.
	for n := range uint64(2000) {
		s.send(up(&holdfastv1.Heartbeat{Sequence: n}))
	}
	// The end of the stream waits behind what its client does not read, so the
	// client is the last to learn of it.
	most := int64(0)
	c.WaitJob(j.id, "the subtask to be taken away", func(d *holdfastv1.JobDescription) error {
		most = max(most, memoryOf(t, c, node)-before)
		if st := d.Subtasks[0].Status; st == holdfastv1.SubtaskStatus_SUBTASK_STATUS_RUNNING {
			return fmt.Errorf("it is %s", st)
		}
		return nil
	})
	s.ReadAgain()
	expectFailure(t, "a stream that does not read", s.End(harness.Patience()), failure{
		code: codes.ResourceExhausted, reason: "OVERLOADED", outcome: "not_applied", retry: true,
		message: "the client does not read its stream: 1024 messages wait for it; it must read in a thread of its own (rule 3.4 of docs/protocol.md)",
	})
	t.Logf("the node took %d KiB more, of %d KiB that were asked for", most>>10, asks*values*valueBytes>>10)
	if most > maxUnreadBytes {
		t.Errorf("a stream that does not read took %d KiB of memory, at most %d are expected", most>>10, maxUnreadBytes>>10)
	}
	healthy.WaitAcked(20)
	checkFlusher(t, healthy)
	if n := healthy.Stats().Resumes; n != 0 {
		t.Errorf("the healthy job on the same node had to resume %d times", n)
	}
}

// maxUnreadBytes is far above a page of Values and what flow control holds, and
// far below what NeverReads asks for.
const maxUnreadBytes = 64 << 20

// newRawBytesJob is newRawJob with a state of bytes.
func newRawBytesJob(t *testing.T, c *harness.Cluster, node int) *rawJob {
	t.Helper()
	j := &rawJob{t: t, c: c, node: node, config: harness.FlusherConfig{Job: harness.RandomName("raw"), Slots: 1, CheckpointMs: 3_600_000}}
	spec := j.config.Spec()
	spec.Operators[1].States[0].Type = "bytes"
	j.id = c.MustSubmit(spec)
	return j
}

// NeverHello opens as many streams as a node takes and says nothing: what the
// node has goes on, and soon they are gone.
func NeverHello(t *testing.T, c *harness.Cluster, limit int) {
	node := c.Followers()[0]
	healthy := harness.StartFlusher(c, harness.FlusherConfig{
		Job: "healthy", CheckpointMs: 100, Pause: traffic, Addresses: func(int) []string { return c.Addresses(node) },
	})
	healthy.WaitAcked(20)
	j := newRawJob(t, c, node, harness.FlusherConfig{CheckpointMs: 3_600_000})
	// More than there is room for: the node judges them in any order.
	var silent []*rawSlot
	for range limit + 5 {
		silent = append(silent, j.open())
	}
	harness.Until(t, "a node full of silent streams", func() error {
		s, err := j.tryStandby(c.Conn(node))
		if err != nil {
			expectFailure(t, "a stream beside silent ones", err, full(limit))
			return nil
		}
		s.Break()
		return errors.New("it takes another stream")
	})
	healthy.WaitAcked(20)
	timedOut := 0
	for _, s := range silent {
		err := s.End(harness.Patience())
		if harness.FailureOf(err).Reason == "OVERLOADED" {
			expectFailure(t, "a silent stream too many", err, full(limit))
			continue
		}
		timedOut++
		expectFailure(t, "a silent stream", err, violates("3.1", fmt.Sprintf("no Hello came within %s", min(10*time.Second, c.SessionTimeout))))
	}
	if timedOut == 0 {
		t.Error("every silent stream was refused")
	}
	j.assigned()
	checkFlusher(t, healthy)
	if n := healthy.Stats().Resumes; n != 0 {
		t.Errorf("the healthy job on the same node had to resume %d times", n)
	}
}
