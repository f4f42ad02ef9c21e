package holdfast

import (
	"errors"
	"fmt"
	"io"
	"log/slog"
	"sync"

	"github.com/holdfast-io/holdfast/clients/go/internal/slot"
	holdfastv1 "github.com/holdfast-io/holdfast/proto/holdfast/v1"
)

// task is the chain of operators of one attempt.
type task struct {
	head func(Record) error
	// record and partition are those of the record in hand.
	record     int
	partition  uint32
	partitions []uint32
	stages     []stage
	outputs    []*slot.Output
	closers    []func() error
	snapshots  []func(checkpoint uint64) ([]*holdfastv1.OperatorState, error)
}

// stage is where the first step of a record ends and the second one begins:
// an operator with effects that has none before it.
type stage interface {
	// lookUp comes behind the first step of all records of a run.
	lookUp()
	process(n int) error
	reset()
}

// Collect implements slot.Task.
func (t *task) Collect(n int, r Record) error {
	t.record, t.partition = n, r.Partition
	t.partitions = append(t.partitions, r.Partition)
	return t.head(r)
}

// LookUp implements slot.Task.
func (t *task) LookUp() {
	for _, s := range t.stages {
		s.lookUp()
	}
}

// Process implements slot.Task.
func (t *task) Process(n int) error {
	t.record, t.partition = n, t.partitions[n]
	for _, s := range t.stages {
		if err := s.process(n); err != nil {
			return err
		}
	}
	return nil
}

// Reset implements slot.Task.
func (t *task) Reset() {
	t.partitions = t.partitions[:0]
	for _, s := range t.stages {
		s.reset()
	}
}

// Outputs implements slot.Task.
func (t *task) Outputs() []*slot.Output { return t.outputs }

// Snapshot implements slot.Task.
func (t *task) Snapshot(checkpoint uint64) ([]*holdfastv1.OperatorState, error) {
	var out []*holdfastv1.OperatorState
	for _, s := range t.snapshots {
		states, err := s(checkpoint)
		if err != nil {
			return nil, err
		}
		out = append(out, states...)
	}
	return out, nil
}

// Close implements slot.Task.
func (t *task) Close() error {
	var errs []error
	for _, c := range t.closers {
		errs = append(errs, c())
	}
	return errors.Join(errs...)
}

// builder connects the operators of one attempt.
type builder struct {
	jobName string
	log     *slog.Logger
	rt      *slot.Runtime
	task    *task
}

// context makes the RuntimeContext of an operator.
func (b *builder) context(uid string, keyed bool) *operatorContext {
	return &operatorContext{jobName: b.jobName, uid: uid, keyed: keyed, rt: b.rt, log: b.log.With("operator", uid), restored: b.rt.OperatorState}
}

// open opens a function for this attempt and closes it at its end.
func (b *builder) open(op *operatorContext, fn any) error {
	b.task.closers = append(b.task.closers, func() error { return closeFunction(fn) })
	if err := op.open(fn); err != nil {
		return fmt.Errorf("open %s: %w", op.uid, err)
	}
	if op.stateful(fn) {
		b.task.snapshots = append(b.task.snapshots, func(n uint64) ([]*holdfastv1.OperatorState, error) { return op.snapshot(n, fn) })
	}
	return nil
}

// program makes tasks for slots.
type program struct {
	jobName string
	sources map[string]*node
}

// NewTask implements slot.Program.
func (p *program) NewTask(rt *slot.Runtime) (slot.Task, error) {
	n := p.sources[rt.OperatorUID()]
	if n == nil {
		return nil, fmt.Errorf("this program has no source %q", rt.OperatorUID())
	}
	b := &builder{jobName: p.jobName, log: rt.Logger(), rt: rt, task: &task{}}
	head, err := n.build(b)
	if err != nil {
		return nil, errors.Join(err, b.task.Close())
	}
	b.task.head = head
	return b.task, nil
}

// unkeyedStage notes values while a batch is collected and processes them record by
// record, so that a cut between two records is one of theirs too. It is for what has
// effects and needs no key: functions with operator state, and sinks.
type unkeyedStage[T any] struct {
	task    *task
	call    func(v T) error
	values  []T
	records []int
	next    int
}

func (u *unkeyedStage[T]) collect(v T) error {
	u.values = append(u.values, v)
	u.records = append(u.records, u.task.record)
	return nil
}

func (u *unkeyedStage[T]) lookUp() {}

func (u *unkeyedStage[T]) process(n int) error {
	for u.next < len(u.values) && u.records[u.next] == n {
		v := u.values[u.next]
		u.next++
		if err := u.call(v); err != nil {
			return err
		}
	}
	return nil
}

func (u *unkeyedStage[T]) reset() {
	clear(u.values)
	u.values, u.records, u.next = u.values[:0], u.records[:0], 0
}

// unkeyed makes what takes the values of call: call itself behind a stage, else a stage
// of its own.
func unkeyed[T any](b *builder, direct bool, call func(v T) error) func(T) error {
	if direct {
		return call
	}
	u := &unkeyedStage[T]{task: b.task, call: call}
	b.task.stages = append(b.task.stages, u)
	return u.collect
}

// printer writes one line a value.
type printer[T any] struct{ out *slot.Output }

func (p *printer[T]) print(v T) error {
	if s, ok := any(v).(string); ok {
		p.out.Buf = append(p.out.Buf, s...)
	} else {
		p.out.Buf = fmt.Append(p.out.Buf, v)
	}
	p.out.Buf = append(p.out.Buf, '\n')
	return nil
}

// lineWriter lets the sinks of all slots share a writer: one call writes whole
// lines.
type lineWriter struct {
	mu sync.Mutex
	w  io.Writer
}

// Write implements io.Writer.
func (l *lineWriter) Write(b []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.w.Write(b)
}
