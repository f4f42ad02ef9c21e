package storagetest

import (
	"context"
	"errors"
	"fmt"
	"io"
	"iter"
	"sync"
	"sync/atomic"
	"time"

	"github.com/holdfast-io/holdfast/stateserver/storage"
)

// Op is an operation of a storage, or of a file of it.
type Op string

// The operations that can fail.
const (
	OpCreate           Op = "create"
	OpWrite            Op = "write" // each Write of a writer
	OpCommit           Op = "commit"
	OpOpen             Op = "open"
	OpRead             Op = "read" // each Read of a reader
	OpStat             Op = "stat"
	OpList             Op = "list"
	OpDelete           Op = "delete"
	OpDeleteAll        Op = "delete all"
	OpDeleteUnfinished Op = "delete unfinished"
	OpAny              Op = ""
)

// Fault makes operations fail.
type Fault struct {
	Op    Op                     // which; OpAny: all of them
	After int                    // operations of this kind that work first
	Times int                    // how many fail then; 0: all until the fault is lifted
	Err   error                  // what they fail with; nil: they do not fail, see Delay
	Delay time.Duration          // how long each waits before it fails or works
	Match func(name string) bool // only these files; nil: all
}

// Full is a disk that is full.
func Full() Fault {
	return Fault{Op: OpWrite, Err: &storage.Error{
		Op: "write", URL: "fault:", Kind: storage.ErrNoSpace, Err: errors.New("no space left on device"), Remedy: "free space there",
	}}
}

// Outage is a storage that does not answer.
func Outage() Fault {
	return Fault{Op: OpAny, Err: &storage.Error{
		Op: "reach", URL: "fault:", Kind: storage.ErrUnavailable, Err: errors.New("connection refused"),
	}}
}

// Faulty is a storage with faults. It may be used concurrently.
type Faulty struct {
	storage.Storage

	mu     sync.Mutex
	faults map[int]*injected
	next   int
	calls  map[Op]int
}

type injected struct {
	Fault
	seen, failed int
}

// New puts faults before s.
func New(s storage.Storage) *Faulty {
	return &Faulty{Storage: s, faults: map[int]*injected{}, calls: map[Op]int{}}
}

// Unwrap is the storage behind.
func (f *Faulty) Unwrap() storage.Storage { return f.Storage }

// Inject begins a fault and gives what lifts it.
func (f *Faulty) Inject(fault Fault) (lift func()) {
	f.mu.Lock()
	defer f.mu.Unlock()
	id := f.next
	f.next++
	f.faults[id] = &injected{Fault: fault}
	return func() {
		f.mu.Lock()
		defer f.mu.Unlock()
		delete(f.faults, id)
	}
}

// Calls is how many operations of a kind there were.
func (f *Faulty) Calls(op Op) int {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.calls[op]
}

// meet counts an operation, waits, and tells whether it fails.
func (f *Faulty) meet(ctx context.Context, op Op, name string) error {
	delay, err := f.judge(op, name)
	if delay > 0 {
		timer := time.NewTimer(delay)
		defer timer.Stop()
		select {
		case <-timer.C:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	if err != nil {
		return fmt.Errorf("%s %s: %w", op, storage.JoinURL(f.URL(), name), err)
	}
	return nil
}

func (f *Faulty) judge(op Op, name string) (delay time.Duration, err error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.calls[op]++
	for id := range f.next {
		i := f.faults[id]
		if i == nil || i.Op != OpAny && i.Op != op || i.Match != nil && !i.Match(name) {
			continue
		}
		i.seen++
		if i.seen <= i.After || i.Times > 0 && i.failed >= i.Times {
			continue
		}
		i.failed++
		delay += i.Delay
		if err == nil {
			err = i.Err
		}
	}
	return delay, err
}

// Create begins a file.
func (f *Faulty) Create(ctx context.Context, name string) (storage.Writer, error) {
	if err := f.meet(ctx, OpCreate, name); err != nil {
		return nil, err
	}
	w, err := f.Storage.Create(ctx, name)
	if err != nil {
		return nil, err
	}
	return &faultyWriter{Writer: w, ctx: ctx, f: f, name: name}, nil
}

type faultyWriter struct {
	storage.Writer
	ctx   context.Context
	f     *Faulty
	name  string
	ended atomic.Bool
}

func (w *faultyWriter) Write(p []byte) (int, error) {
	if err := w.f.meet(w.ctx, OpWrite, w.name); err != nil {
		return 0, err
	}
	return w.Writer.Write(p)
}

func (w *faultyWriter) Commit() error {
	if err := w.f.meet(w.ctx, OpCommit, w.name); err != nil {
		return errors.Join(err, w.Abort())
	}
	w.ended.Store(true)
	return w.Writer.Commit()
}

func (w *faultyWriter) Abort() error {
	if w.ended.Swap(true) {
		return nil
	}
	return w.Writer.Abort()
}

// Open reads a file.
func (f *Faulty) Open(ctx context.Context, name string, offset, length int64) (io.ReadCloser, error) {
	if err := f.meet(ctx, OpOpen, name); err != nil {
		return nil, err
	}
	r, err := f.Storage.Open(ctx, name, offset, length)
	if err != nil {
		return nil, err
	}
	return &faultyReader{ReadCloser: r, ctx: ctx, f: f, name: name}, nil
}

type faultyReader struct {
	io.ReadCloser
	ctx  context.Context
	f    *Faulty
	name string
}

func (r *faultyReader) Read(p []byte) (int, error) {
	if err := r.f.meet(r.ctx, OpRead, r.name); err != nil {
		return 0, err
	}
	return r.ReadCloser.Read(p)
}

// Stat tells of a file.
func (f *Faulty) Stat(ctx context.Context, name string) (storage.FileInfo, error) {
	if err := f.meet(ctx, OpStat, name); err != nil {
		return storage.FileInfo{}, err
	}
	return f.Storage.Stat(ctx, name)
}

// List yields files.
func (f *Faulty) List(ctx context.Context, dir string) iter.Seq2[storage.FileInfo, error] {
	return func(yield func(storage.FileInfo, error) bool) {
		if err := f.meet(ctx, OpList, dir); err != nil {
			yield(storage.FileInfo{}, err)
			return
		}
		f.Storage.List(ctx, dir)(yield)
	}
}

// Delete removes a file.
func (f *Faulty) Delete(ctx context.Context, name string) error {
	if err := f.meet(ctx, OpDelete, name); err != nil {
		return err
	}
	return f.Storage.Delete(ctx, name)
}

// DeleteAll removes a directory.
func (f *Faulty) DeleteAll(ctx context.Context, dir string) error {
	if err := f.meet(ctx, OpDeleteAll, dir); err != nil {
		return err
	}
	return f.Storage.DeleteAll(ctx, dir)
}

// DeleteUnfinished removes what writers left.
func (f *Faulty) DeleteUnfinished(ctx context.Context, dir string, before time.Time) (int, error) {
	if err := f.meet(ctx, OpDeleteUnfinished, dir); err != nil {
		return 0, err
	}
	return f.Storage.DeleteUnfinished(ctx, dir, before)
}
