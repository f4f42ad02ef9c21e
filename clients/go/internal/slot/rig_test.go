package slot

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"strings"
	"sync"
	"testing"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"

	"github.com/holdfast-io/holdfast/clients/go/internal/faketest"
	"github.com/holdfast-io/holdfast/clients/go/internal/workingcopy"
	"github.com/holdfast-io/holdfast/clients/go/source"
	"github.com/holdfast-io/holdfast/internal/await"
	holdfastv1 "github.com/holdfast-io/holdfast/proto/holdfast/v1"
)

const (
	sourceUID = "source"
	stateID   = 7
	topic     = "topic"
)

// rec is one record of the scripted source.
type rec struct {
	split  int
	offset int64
	value  string
}

// step is one answer of the scripted source.
type step struct {
	recs []rec
	ends []source.Position
	err  error
}

// scriptedSource delivers what the test says.
type scriptedSource struct {
	steps     chan step
	opened    chan source.OpenOptions
	committed chan []source.Position
	discover  func(ctx context.Context, o source.DiscoverOptions) ([]source.Split, error)
	open      func(o source.OpenOptions) ([]source.Position, error)
}

func (s *scriptedSource) Spec() (source.Spec, error) { return source.Spec{Connector: "test"}, nil }

func (s *scriptedSource) DiscoverSplits(ctx context.Context, o source.DiscoverOptions) ([]source.Split, error) {
	return s.discover(ctx, o)
}

func (s *scriptedSource) Open(_ context.Context, o source.OpenOptions) (source.Reader, error) {
	s.opened <- o
	r := &scriptedReader{source: s}
	for _, sp := range o.Splits {
		r.positions = append(r.positions, source.Position{NextOffset: sp.StartOffset, LeaderEpoch: -1})
	}
	if s.open != nil {
		p, err := s.open(o)
		if err != nil {
			return nil, err
		}
		r.positions = p
	}
	return r, nil
}

type scriptedReader struct {
	source    *scriptedSource
	positions []source.Position
}

func (r *scriptedReader) Poll(ctx context.Context, b *source.Batch, _ int) error {
	select {
	case st := <-r.source.steps:
		for _, x := range st.recs {
			b.Append(source.Entry{Split: x.split, Offset: x.offset, LeaderEpoch: 3, Value: []byte(x.value)})
			r.positions[x.split] = source.Position{NextOffset: x.offset + 1, LeaderEpoch: 3}
		}
		copy(r.positions, st.ends)
		return st.err
	case <-ctx.Done():
		return nil
	case <-time.After(10 * time.Millisecond):
		return nil
	}
}

func (r *scriptedReader) Positions(dst []source.Position) []source.Position {
	return append(dst, r.positions...)
}
func (r *scriptedReader) CommitForDisplay(p []source.Position) { r.source.committed <- p }
func (r *scriptedReader) Close() error                         { return nil }

// countTask counts each value as a key and writes "value=count". A value "a>b"
// counts a, and then b, which Collect did not know of.
type countTask struct {
	rig   *rig
	rt    *Runtime
	table *workingcopy.Table
	keys  []string
	heads []*workingcopy.Entry
	out   Output
	seen  int64
}

func (c *countTask) LookUp() {}

func (c *countTask) Collect(_ int, r source.Record) error {
	value := string(r.Value)
	head, _, _ := strings.Cut(value, ">")
	group := uint32(0)
	if c.rt.CoPartitioned() {
		group = r.Partition
	}
	c.keys = append(c.keys, value)
	c.heads = append(c.heads, c.table.Entry(group, []byte(head)))
	return c.rt.CheckKey([]byte(head))
}

func (c *countTask) Process(n int) error {
	if hook := c.rig.hook(c.keys[n]); hook != nil {
		if err := hook(); err != nil {
			return err
		}
	}
	c.seen++
	head, tail, more := strings.Cut(c.keys[n], ">")
	c.count(head, c.heads[n])
	if !more {
		return nil
	}
	e := c.table.Entry(0, []byte(tail))
	if e.Loading() {
		if err := c.rt.Fetch(); err != nil {
			return err
		}
	}
	c.count(tail, e)
	return nil
}

func (c *countTask) count(key string, e *workingcopy.Entry) {
	n := int64(0)
	if v, ok := e.Value(); ok {
		n = number(string(v))
	}
	e.Put([]byte(encoded(n + 1)))
	c.out.Buf = fmt.Appendf(c.out.Buf, "%s=%d\n", key, n+1)
}

func (c *countTask) Reset()             { c.keys, c.heads = c.keys[:0], c.heads[:0] }
func (c *countTask) Outputs() []*Output { return []*Output{&c.out} }

// Snapshot is how many records were processed, as the operator state "seen".
func (c *countTask) Snapshot(uint64) ([]*holdfastv1.OperatorState, error) {
	if hook := c.rig.hook("snapshot"); hook != nil {
		if err := hook(); err != nil {
			return nil, err
		}
	}
	return []*holdfastv1.OperatorState{{OperatorUid: "counter", StateName: "seen", Content: []byte(encoded(c.seen))}}, nil
}

func (c *countTask) Close() error { c.rig.closed <- struct{}{}; return nil }

func encoded(n int64) string {
	return string(binary.LittleEndian.AppendUint64(nil, uint64(n)))
}

func number(v string) int64 { return int64(binary.LittleEndian.Uint64([]byte(v))) }

// rig is a slot, its source, and the host that it talks to.
type rig struct {
	t      *testing.T
	host   *faketest.Host
	src    *scriptedSource
	slot   *Slot
	cancel context.CancelFunc
	done   chan struct{}
	closed chan struct{}
	ended  *holdfastv1.JobEnded
	err    error

	mu    sync.Mutex
	hooks map[string]func() error
	out   strings.Builder

	// sink is of the task's output, if it has one; waits is its Output.Waits.
	sink  *fakeSink
	waits bool
}

func (r *rig) NewTask(rt *Runtime) (Task, error) {
	table, err := rt.Table("counter", "count")
	if err != nil {
		return nil, err
	}
	c := &countTask{rig: r, rt: rt, table: table, out: Output{W: r}}
	if b := rt.OperatorState("counter", "seen"); len(b) > 0 {
		c.seen = number(string(b))
	}
	if r.sink != nil {
		r.sink.set(func(f *fakeSink) { f.notify = rt.Notify })
		c.out.Sink, c.out.Waits = r.sink, r.waits
	}
	return c, nil
}

func (r *rig) Write(b []byte) (int, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.out.Write(b)
}

func (r *rig) output() string {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.out.String()
}

func (r *rig) hook(value string) func() error {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.hooks[value]
}

// blockOn makes the record with this value wait until release is called;
// reached is closed once it has come.
func (r *rig) blockOn(value string) (reached chan struct{}, release func()) {
	reached, gate := make(chan struct{}), make(chan struct{})
	r.mu.Lock()
	defer r.mu.Unlock()
	r.hooks[value] = func() error {
		close(reached)
		<-gate
		return nil
	}
	return reached, sync.OnceFunc(func() { close(gate) })
}

func testDial(address string) (*grpc.ClientConn, error) {
	return grpc.NewClient(address, grpc.WithTransportCredentials(insecure.NewCredentials()))
}

func newRig(t *testing.T, change func(*Config)) *rig {
	t.Helper()
	return newRigWith(t, change, func(*rig) {})
}

func newRigWith(t *testing.T, change func(*Config), prepare func(*rig)) *rig {
	t.Helper()
	r := &rig{
		t: t, host: faketest.NewHost(t), hooks: map[string]func() error{},
		done: make(chan struct{}), closed: make(chan struct{}, 100),
		src: &scriptedSource{
			steps: make(chan step), opened: make(chan source.OpenOptions, 100), committed: make(chan []source.Position, 100),
		},
	}
	prepare(r)
	cfg := Config{
		Dial: testDial, Addresses: NewAddresses([]string{r.host.Address}), JobID: "job",
		OperatorUIDs: []string{sourceUID, "counter"}, ProcessID: "process", ClientName: "test", Version: "1",
		Sources: map[string]source.Source{sourceUID: r.src}, Program: r,
		Logger: slog.New(slog.DiscardHandler), FlushDelay: time.Hour,
	}
	if change != nil {
		change(&cfg)
	}
	r.slot = New(cfg)
	r.slot.drainWithin = 200 * time.Millisecond
	ctx, cancel := context.WithCancel(context.Background())
	r.cancel = cancel
	go func() {
		defer close(r.done)
		r.ended, r.err = r.slot.Run(ctx)
	}()
	t.Cleanup(func() {
		cancel()
		r.wait()
	})
	return r
}

// wait waits until the slot has ended.
func (r *rig) wait() {
	r.t.Helper()
	select {
	case <-r.done:
	case <-time.After(faketest.Patience):
		r.t.Fatal("the slot did not end")
	}
}

// assignment is what most tests assign: one split from offset 100, token and
// attempt 5, with checkpoints.
func testAssign() *holdfastv1.Assign {
	return &holdfastv1.Assign{
		FencingToken: 5, Attempt: 5, OperatorUid: sourceUID, Parallelism: 1, MaxParallelism: 128, KeyGroupEnd: 128,
		Splits:             []*holdfastv1.Split{{Topic: topic, Partition: 0, StartOffset: new(int64(100))}},
		StateIds:           []*holdfastv1.StateId{{OperatorUid: "counter", StateName: "count", Id: stateID}},
		CheckpointsEnabled: true,
	}
}

// running is a rig whose slot was assigned a.
func running(t *testing.T, a *holdfastv1.Assign, change func(*Config)) (*rig, *faketest.Stream) {
	t.Helper()
	r := newRig(t, change)
	s := r.host.AcceptWelcome()
	s.Assign(a)
	return r, s
}

// runningWith is running with a rig that prepare has changed.
func runningWith(t *testing.T, a *holdfastv1.Assign, prepare func(*rig)) (*rig, *faketest.Stream) {
	t.Helper()
	r := newRigWith(t, nil, prepare)
	s := r.host.AcceptWelcome()
	s.Assign(a)
	return r, s
}

// deliver gives the source a batch of consecutive offsets of split 0.
func (r *rig) deliver(from int64, values ...string) {
	r.t.Helper()
	st := step{}
	for i, v := range values {
		st.recs = append(st.recs, rec{offset: from + int64(i), value: v})
	}
	r.step(st)
}

// countFirst delivers and counts the record a at offset 100.
func (r *rig) countFirst(s *faketest.Stream) {
	r.t.Helper()
	r.deliver(100, "a")
	s.Absent(s.Get())
	r.awaitOutput("a=1\n")
}

func (r *rig) step(st step) {
	r.t.Helper()
	select {
	case r.src.steps <- st:
	case <-time.After(faketest.Patience):
		r.t.Fatal("the source was not polled")
	}
}

// awaitOutput waits until the output is as expected.
func (r *rig) awaitOutput(want string) {
	r.t.Helper()
	r.await(fmt.Sprintf("output %q", want), func() bool { return r.output() == want })
}

func (r *rig) await(what string, ok func() bool) {
	r.t.Helper()
	await.Until(r.t, faketest.Patience, what, ok, func() string { return fmt.Sprintf("output %q", r.output()) })
}

func (r *rig) receive(what string, c <-chan struct{}) {
	r.t.Helper()
	select {
	case <-c:
	case <-time.After(faketest.Patience):
		r.t.Fatalf("awaited %s", what)
	}
}

// puts is a flush as key -> number; a delete is -1.
func puts(f *holdfastv1.Flush) map[string]int64 {
	out := map[string]int64{}
	for _, op := range faketest.Ops(f) {
		if op.Op == holdfastv1.FlushOp_FLUSH_OP_PUT {
			out[op.Key] = number(op.Value)
		} else {
			out[op.Key] = -1
		}
	}
	return out
}

func (r *rig) wantPuts(f *holdfastv1.Flush, seq uint64, want map[string]int64) {
	r.t.Helper()
	if got := puts(f); f.GetSeq() != seq || fmt.Sprint(got) != fmt.Sprint(want) {
		r.t.Fatalf("flush %d of %v, want %d of %v", f.GetSeq(), got, seq, want)
	}
}

func wantPositions(t *testing.T, got []*holdfastv1.Position, want ...int64) {
	t.Helper()
	var offsets []int64
	for i, p := range got {
		offsets = append(offsets, p.GetNextOffset())
		if p.GetTopic() != topic || p.GetPartition() != uint32(i) {
			t.Errorf("position %d is of %s[%d]", i, p.GetTopic(), p.GetPartition())
		}
	}
	if fmt.Sprint(offsets) != fmt.Sprint(want) {
		t.Fatalf("positions %v, want %v", offsets, want)
	}
}

var (
	errTest = errors.New("from the test")
	errEOF  = io.EOF
)
