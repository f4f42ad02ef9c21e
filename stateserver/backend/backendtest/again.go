package backendtest

import (
	"context"
	"errors"
	"fmt"
	"math"
	"strings"
	"sync/atomic"

	"github.com/holdfast-io/holdfast/raftstore/keyed"
	"github.com/holdfast-io/holdfast/stateserver/backend"

	holdfastv1 "github.com/holdfast-io/holdfast/proto/holdfast/v1"
)

// errStorage is what flaky says.
var errStorage = errors.New("the storage does not answer")

// flaky is storage whose n-th Create or Write fails, and whose Commits do from then
// on; all Commits if it does not come to so many.
type flaky struct {
	*Files
	left atomic.Int64
}

func failAt(f *Files, n int64) *flaky {
	out := &flaky{Files: f}
	out.left.Store(n)
	return out
}

func (f *flaky) failed() error {
	if f.left.Add(-1) == 0 {
		return errStorage
	}
	return nil
}

// Create implements [backend.Files].
func (f *flaky) Create(ctx context.Context, name, format string, shared bool) (backend.Writer, error) {
	if err := f.failed(); err != nil {
		return nil, err
	}
	w, err := f.Files.Create(ctx, name, format, shared)
	return &flakyWriter{w, f}, err
}

type flakyWriter struct {
	backend.Writer
	f *flaky
}

// Write implements io.Writer.
func (w *flakyWriter) Write(b []byte) (int, error) {
	if err := w.f.failed(); err != nil {
		return 0, err
	}
	return w.Writer.Write(b)
}

// Commit implements [backend.Writer].
func (w *flakyWriter) Commit() (*holdfastv1.StateHandle, error) {
	w.Abort()
	return nil, errStorage
}

// churn writes every key of a few hundred anew and larger, deletes some, adds some,
// so that a state that frees memory does.
func churn(t T, st backend.State, o *oracle, round int) {
	t.Helper()
	for part := range 8 {
		b := &batch{}
		for i := part; i < 800; i += 8 {
			key := fmt.Sprintf("churn-%d", i)
			if (i/8+round)%5 == 0 {
				b.remove(stateBytes, key)
			} else {
				b.put(stateBytes, key, fmt.Sprint(round, strings.Repeat("v", 100+20*round+i%40)))
			}
			if i%16 == part {
				b.put(stateOther, fmt.Sprintf("new-%d-%d", round, i), "x")
			}
			b.op(stateInt64, keyed.ByHash, keyed.OpAdd, key, number(int64(round)))
		}
		apply(t, st, o, b)
	}
}

// checkWriteAgain: a snapshot whose writing failed, wherever, is written again after
// changes, and has what was there at the cut; so has the next one on top of it.
func checkWriteAgain(t T, f backend.Factory) {
	n := newNode(t, f)
	defer n.close()
	for _, incremental := range []bool{false, true} {
		files := NewFiles()
		o, st := newOracle(space()), open(t, n, space())
		churn(t, st, o, 0)
		base := &backend.Base{ID: 1, Handles: write(t, cut(t, st, 1), files, nil, incremental)}
		round := 1
		// The last one fails at its first Commit only.
		for id, at := range []int64{1, 2, 3, 6, math.MaxInt64} {
			churn(t, st, o, round)
			when := fmt.Sprintf("storage failed at call %d, incremental %v", at, incremental)
			sn, then := cut(t, st, uint64(id)+2), o.clone()
			for range 2 {
				if _, err := sn.Write(t.Context(), failAt(files, at), base, incremental); !errors.Is(err, errStorage) {
					t.Fatalf("%s: Write says %v", when, err)
				}
				for range 3 {
					round++
					churn(t, st, o, round)
				}
			}
			base = &backend.Base{ID: uint64(id) + 2, Handles: write(t, sn, files, base, incremental)}
			then.expectSnapshot(t, n, files, base.Handles, when+", then written")
			round++
		}
		o.expect(t, st, "after snapshots that were written again")
		closeState(t, st)
	}
}

// checkAfterRestore: a state that was restored can be cut at once for any
// checkpoint: for 0, which is its end, and for the one that it was restored from; and
// again for the same one, after a cut that was written and one that was given up.
func checkAfterRestore(t T, f backend.Factory) {
	n := newNode(t, f)
	defer n.close()
	files := NewFiles()
	first, handles := chainOf(t, n, files)
	const restored = 4 // the last one of chainOf
	for _, id := range []uint64{0, restored, restored + 1} {
		for _, incremental := range []bool{false, true} {
			o, st := first.clone(), restore(t, n, space(), files, handles)
			apply(t, st, o, randomBatch(newRand(72+id), space(), 2000, 100))
			base := &backend.Base{ID: restored, Handles: handles}
			when := fmt.Sprintf("restored, then cut for checkpoint %d, incremental %v", id, incremental)
			o.expectSnapshot(t, n, files, write(t, cut(t, st, id), files, base, incremental), when)
			cut(t, st, id).Release()
			apply(t, st, o, (&batch{}).put(stateBytes, "after a cut that was given up", "v"))
			o.expectSnapshot(t, n, files, write(t, cut(t, st, id), files, nil, incremental), when+" again")
			closeState(t, st)
		}
	}
}
