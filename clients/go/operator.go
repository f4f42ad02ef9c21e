package holdfast

import (
	"log/slog"
	"reflect"
	"slices"

	"github.com/holdfast-io/holdfast/clients/go/internal/slot"
	"github.com/holdfast-io/holdfast/clients/go/internal/workingcopy"
	holdfastv1 "github.com/holdfast-io/holdfast/proto/holdfast/v1"
)

// operatorContext is the RuntimeContext of one operator in one attempt, or, with
// rt nil, while the job is planned.
type operatorContext struct {
	jobName string
	uid     string
	keyed   bool
	rt      *slot.Runtime
	log     *slog.Logger
	opened  bool
	states  []*holdfastv1.StateDescriptor
	// operatorStates are declared with what gives their contents.
	operatorStates []*holdfastv1.OperatorStateDescriptor
	contents       []func() []byte
	// restored is what an operator state begins with; nil while the job is planned.
	restored func(uid, state string) []byte
	tables   []*workingcopy.Table
	// current has the entries of the key in hand, one a state; nil between
	// records.
	current []*workingcopy.Entry
}

func (op *operatorContext) JobName() string            { return op.jobName }
func (op *operatorContext) OperatorUID() string        { return op.uid }
func (op *operatorContext) Logger() *slog.Logger       { return op.log }
func (op *operatorContext) operator() *operatorContext { return op }

func (op *operatorContext) SubtaskIndex() int {
	if op.rt == nil {
		return 0
	}
	return op.rt.SubtaskIndex()
}

func (op *operatorContext) Parallelism() int {
	if op.rt == nil {
		return 1
	}
	return op.rt.Parallelism()
}

func (op *operatorContext) Attempt() uint64 {
	if op.rt == nil {
		return 0
	}
	return op.rt.Attempt()
}

// open opens a function that wants it.
func (op *operatorContext) open(fn any) error {
	defer func() { op.opened = true }()
	if rich, ok := fn.(RichFunction); ok {
		return rich.Open(op)
	}
	return nil
}

func closeFunction(fn any) error {
	if c, ok := fn.(Closer); ok {
		return c.Close()
	}
	return nil
}

// instance is a function of its own for an attempt: attempts of several slots
// run at the same time, and what Open puts into the fields belongs to one.
func instance[F any](fn F) F {
	v := reflect.ValueOf(fn)
	if v.Kind() != reflect.Pointer || v.Elem().Kind() != reflect.Struct {
		return fn
	}
	c := reflect.New(v.Elem().Type())
	c.Elem().Set(v.Elem())
	return c.Interface().(F)
}

// keyedStage runs a function with keyed state. At the head of a chain it is
// given a whole run of records first, so that their keys can be asked for at
// once; behind another stage each value is processed as it comes.
type keyedStage[IN any] struct {
	op      *operatorContext
	task    *task
	encode  func(dst []byte, v IN) []byte
	call    func(v IN) error
	scratch []byte

	values  []IN
	records []int
	// keys are those of values one after the other, ends where they end, and groups
	// the key groups of a co-partitioned job.
	keys    []byte
	ends    []int
	groups  []uint32
	entries []*workingcopy.Entry
	next    int
}

// find appends the entries of a value's key.
func (k *keyedStage[IN]) find(dst []*workingcopy.Entry, v IN) ([]*workingcopy.Entry, error) {
	k.scratch = k.encode(k.scratch[:0], v)
	if err := k.op.rt.CheckKey(k.scratch); err != nil {
		return dst, err
	}
	group := uint32(0)
	if k.op.rt.CoPartitioned() {
		group = k.task.partition
	}
	for _, t := range k.op.tables {
		dst = append(dst, t.Entry(group, k.scratch))
	}
	return dst, nil
}

// collect is the first step of a value at the head of a chain.
func (k *keyedStage[IN]) collect(v IN) error {
	from := len(k.keys)
	k.keys = k.encode(k.keys, v)
	if err := k.op.rt.CheckKey(k.keys[from:]); err != nil {
		return err
	}
	k.ends = append(k.ends, len(k.keys))
	if k.op.rt.CoPartitioned() {
		k.groups = append(k.groups, k.task.partition)
	}
	k.values = append(k.values, v)
	k.records = append(k.records, k.task.record)
	return nil
}

// lookUp finds the entries of everything that was collected.
func (k *keyedStage[IN]) lookUp() {
	width := len(k.op.tables)
	k.entries = slices.Grow(k.entries[:0], width*len(k.ends))[:width*len(k.ends)]
	for j, t := range k.op.tables {
		t.Entries(k.groups, k.keys, k.ends, func(i int, e *workingcopy.Entry) { k.entries[i*width+j] = e })
	}
}

// process is the second step of what the n-th record brought.
func (k *keyedStage[IN]) process(n int) error {
	width := len(k.op.tables)
	for k.next < len(k.values) && k.records[k.next] == n {
		i := k.next
		k.next++
		if err := k.run(k.values[i], k.entries[i*width:(i+1)*width]); err != nil {
			return err
		}
	}
	return nil
}

func (k *keyedStage[IN]) reset() {
	clear(k.values)
	clear(k.entries)
	k.values, k.records, k.entries, k.next = k.values[:0], k.records[:0], k.entries[:0], 0
	k.keys, k.ends, k.groups = k.keys[:0], k.ends[:0], k.groups[:0]
}

// direct does both steps at once.
func (k *keyedStage[IN]) direct(v IN) error {
	entries, err := k.find(nil, v)
	if err != nil {
		return err
	}
	for _, e := range entries {
		if !e.Loading() {
			continue
		}
		if err := k.op.rt.Fetch(); err != nil {
			return err
		}
	}
	return k.run(v, entries)
}

func (k *keyedStage[IN]) run(v IN, entries []*workingcopy.Entry) error {
	if entries == nil {
		entries = []*workingcopy.Entry{}
	}
	k.op.current = entries
	err := k.call(v)
	k.op.current = nil
	return err
}
