// Package history records what clients of a cluster asked and were told, and
// checks with porcupine that one order of the log explains it: that reads and
// changes are linearizable, whatever failed meanwhile.
package history

import (
	"math"
	"sync"
	"testing"
	"time"

	"github.com/anishathalye/porcupine"
)

// Input is what a client asks.
type Input interface {
	// Reads tells that the operation changes nothing: without an answer it says
	// nothing either, and is left out.
	Reads() bool
}

// Recorder is one history. Safe for concurrent use.
type Recorder struct {
	start time.Time

	mu    sync.Mutex
	calls []*Call
}

// NewRecorder begins a history.
func NewRecorder() *Recorder { return &Recorder{start: time.Now()} }

// Call is an operation that was asked for.
type Call struct {
	r      *Recorder
	client int
	input  Input
	call   time.Duration
	ret    time.Duration // 0: no answer
	output any
	none   bool
}

// Begin notes an operation before it is sent. client is for the picture only.
func (r *Recorder) Begin(client int, input Input) *Call {
	r.mu.Lock()
	defer r.mu.Unlock()
	c := &Call{r: r, client: client, input: input, call: time.Since(r.start)}
	r.calls = append(r.calls, c)
	return c
}

// Return notes the answer. An operation without one may have been applied, at
// any time after its beginning, or never.
func (c *Call) Return(output any) {
	c.r.mu.Lock()
	defer c.r.mu.Unlock()
	c.ret, c.output = time.Since(c.r.start), output
}

// Drop notes that the operation surely was not applied.
func (c *Call) Drop() {
	c.r.mu.Lock()
	defer c.r.mu.Unlock()
	c.none = true
}

// operations is the history as porcupine reads it.
func (r *Recorder) operations() (ops []porcupine.Operation, open int) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, c := range r.calls {
		op := porcupine.Operation{ClientId: c.client, Input: c.input, Call: int64(c.call), Output: c.output, Return: int64(c.ret)}
		if c.ret == 0 {
			if c.none || c.input.Reads() {
				continue
			}
			open++
			op.Return = math.MaxInt64
		}
		ops = append(ops, op)
	}
	return ops, open
}

// checkLimit bounds the search for an order. It is no measure of anything:
// histories are short.
const checkLimit = time.Minute

// Check fails the test unless one order explains the history, and tells how
// many operations it has and how many of them are without an answer. The
// picture of a bad one is kept in a file.
func (r *Recorder) Check(t testing.TB, name string, model porcupine.Model) (operations, open int) {
	t.Helper()
	ops, open := r.operations()
	result, info := porcupine.CheckOperationsVerbose(model, ops, checkLimit)
	switch result {
	case porcupine.Ok:
		return len(ops), open
	case porcupine.Unknown:
		t.Errorf("%s: no order of %d operations was found in %s, and none was ruled out", name, len(ops), checkLimit)
	default:
		t.Errorf("%s: no order of the log explains the answers: the history of %d operations is not linearizable (invariants 6 and 9); the picture is in %s",
			name, len(ops), picture(t, name, model, info))
	}
	return len(ops), open
}
