package backendtest

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"

	holdfastv1 "github.com/holdfast-io/holdfast/proto/holdfast/v1"
	"github.com/holdfast-io/holdfast/raftstore/keyed"
	"github.com/holdfast-io/holdfast/stateserver/backend"
)

func cut(t T, st backend.State, checkpoint uint64) backend.Snapshot {
	t.Helper()
	sn, err := st.Cut(checkpoint)
	if err != nil {
		t.Fatalf("Cut for checkpoint %d: %v", checkpoint, err)
	}
	return sn
}

func write(t T, sn backend.Snapshot, files backend.Files, base *backend.Base, incremental bool) []*holdfastv1.StateHandle {
	t.Helper()
	handles, err := sn.Write(t.Context(), files, base, incremental)
	if err != nil {
		t.Fatalf("Snapshot.Write: %v", err)
	}
	sn.Release()
	return handles
}

func restore(t T, n *node, sp keyed.SpaceConfig, files backend.Files, handles []*holdfastv1.StateHandle) backend.State {
	t.Helper()
	st := open(t, n, sp)
	if err := st.Restore(t.Context(), files, handles); err != nil {
		t.Fatalf("Restore: %v", err)
	}
	return st
}

// expectSnapshot compares what handles restore, and what is read from them, with
// the oracle.
func (o *oracle) expectSnapshot(t T, n *node, files backend.Files, handles []*holdfastv1.StateHandle, when string) {
	t.Helper()
	st := restore(t, n, o.space, files, handles)
	o.expect(t, st, when+", restored")
	closeState(t, st)
	es, err := n.b.ReadSnapshot(t.Context(), backend.Spec{Name: "read-1", Space: o.space}, files, handles)
	if err != nil {
		t.Fatalf("%s: ReadSnapshot: %v", when, err)
	}
	if d := difference(readAll(t, es), o.entries()); d != "" {
		t.Fatalf("%s: ReadSnapshot: %s", when, d)
	}
}

// checkCut: a snapshot has what was there at the cut: not what was changed, added
// or deleted after it, though it is written later.
func checkCut(t T, f backend.Factory) {
	n := newNode(t, f)
	defer n.close()
	for _, sp := range []keyed.SpaceConfig{space(), byPartition()} {
		r := newRand(31)
		files := NewFiles()
		o, st := newOracle(sp), open(t, n, sp)
		empty := write(t, cut(t, st, 1), files, nil, false)
		o.expectSnapshot(t, n, files, empty, "an empty state")
		for range 20 {
			apply(t, st, o, randomBatch(r, sp, 300, 50))
		}
		sn, then := cut(t, st, 2), o.clone()
		for range 20 {
			apply(t, st, o, randomBatch(r, sp, 300, 50))
		}
		then.expectSnapshot(t, n, files, write(t, sn, files, nil, false), "cut, then changed, then written")
		o.expect(t, st, "after the snapshot")
		closeState(t, st)
	}
}

// checkCutUnderWrites: the same while the snapshot is written.
func checkCutUnderWrites(t T, f backend.Factory) {
	n := newNode(t, f)
	defer n.close()
	for _, incremental := range []bool{false, true} {
		r := newRand(32)
		files := NewFiles()
		o, st := newOracle(space()), open(t, n, space())
		var base *backend.Base
		for round := range uint64(8) {
			for range 10 {
				apply(t, st, o, randomBatch(r, space(), 3000, 200))
			}
			sn, then := cut(t, st, round+1), o.clone()
			var wg sync.WaitGroup
			var handles []*holdfastv1.StateHandle
			var err error
			wg.Add(1)
			go func() {
				defer wg.Done()
				handles, err = sn.Write(t.Context(), files, base, incremental)
			}()
			for range 10 {
				apply(t, st, o, randomBatch(r, space(), 3000, 100))
			}
			wg.Wait()
			if err != nil {
				t.Fatalf("Write beside changes: %v", err)
			}
			sn.Release()
			then.expectSnapshot(t, n, files, handles, fmt.Sprintf("round %d, changed while it was written, incremental %v", round, incremental))
			base = &backend.Base{ID: round + 1, Handles: handles}
		}
		o.expect(t, st, "at the end")
		closeState(t, st)
	}
}

// checkFullSnapshots and checkIncrementalSnapshots: each of a row of snapshots
// restores what was there, on top of what was restored too.
func checkFullSnapshots(t T, f backend.Factory)        { rowOfSnapshots(t, f, false) }
func checkIncrementalSnapshots(t T, f backend.Factory) { rowOfSnapshots(t, f, true) }

func rowOfSnapshots(t T, f backend.Factory, incremental bool) {
	n := newNode(t, f)
	defer n.close()
	for _, inline := range []int{0, 1 << 20} {
		r := newRand(41)
		files := NewFiles()
		files.Inline = inline
		o, st := newOracle(space()), open(t, n, space())
		apply(t, st, o, randomBatch(r, space(), 2000, 3000))
		var base *backend.Base
		for id := uint64(1); id <= 50; id++ {
			// Few changes most of the time, many now and then.
			apply(t, st, o, randomBatch(r, space(), 2000, []int{5, 5, 40, 0, 700}[id%5]))
			handles := write(t, cut(t, st, id), files, base, incremental)
			if id < 4 || id%7 == 0 {
				o.expectSnapshot(t, n, files, handles, fmt.Sprintf("snapshot %d, incremental %v, %d parts", id, incremental, len(handles)))
			}
			base = &backend.Base{ID: id, Handles: handles}
			if id%11 == 0 { // a new attempt
				closeState(t, st)
				st = restore(t, n, space(), files, handles)
			}
		}
		closeState(t, st)
	}
}

// checkGivenUp: what a snapshot had that was never completed is in the next one.
func checkGivenUp(t T, f backend.Factory) {
	n := newNode(t, f)
	defer n.close()
	r := newRand(51)
	files := NewFiles()
	o, st := newOracle(space()), open(t, n, space())
	apply(t, st, o, randomBatch(r, space(), 1000, 3000))
	var base *backend.Base
	for id := uint64(1); id <= 40; id++ {
		apply(t, st, o, randomBatch(r, space(), 1000, 60))
		sn := cut(t, st, id)
		switch r.IntN(3) {
		case 0: // given up before it was written
			sn.Release()
		case 1: // written, and not completed
			write(t, sn, files, base, true)
		default:
			handles := write(t, sn, files, base, true)
			o.expectSnapshot(t, n, files, handles, fmt.Sprintf("snapshot %d after some that were given up", id))
			base = &backend.Base{ID: id, Handles: handles}
		}
	}
	closeState(t, st)
}

// checkFailedWrite: a snapshot whose writing fails, or is cancelled, says so, and
// the state goes on.
func checkFailedWrite(t T, f backend.Factory) {
	n := newNode(t, f)
	defer n.close()
	r := newRand(61)
	files := NewFiles()
	o, st := newOracle(space()), open(t, n, space())
	apply(t, st, o, randomBatch(r, space(), 1000, 3000))
	base := &backend.Base{ID: 1, Handles: write(t, cut(t, st, 1), files, nil, true)}
	apply(t, st, o, randomBatch(r, space(), 1000, 500))

	full := errors.New("no space left on the device")
	broken := NewFiles()
	broken.FailWrites = full
	sn := cut(t, st, 2)
	if _, err := sn.Write(t.Context(), broken, base, true); !errors.Is(err, full) {
		t.Errorf("Write to a storage without room: %v, want %v", err, full)
	}
	sn.Release()
	cancelled, cancel := context.WithCancel(t.Context())
	cancel()
	sn = cut(t, st, 3)
	if _, err := sn.Write(cancelled, files, base, true); !errors.Is(err, context.Canceled) {
		t.Errorf("Write under a context that ended: %v", err)
	}
	sn.Release()
	apply(t, st, o, randomBatch(r, space(), 1000, 50))
	o.expect(t, st, "two snapshots failed")
	o.expectSnapshot(t, n, files, write(t, cut(t, st, 4), files, base, true), "after two that failed")
	closeState(t, st)
}

// chainOf makes a snapshot of several parts, where the backend does so.
func chainOf(t T, n *node, files *Files) (*oracle, []*holdfastv1.StateHandle) {
	t.Helper()
	r := newRand(71)
	o, st := newOracle(space()), open(t, n, space())
	apply(t, st, o, randomBatch(r, space(), 2000, 4000))
	var base *backend.Base
	for id := uint64(1); id <= 4; id++ {
		apply(t, st, o, randomBatch(r, space(), 2000, 100))
		base = &backend.Base{ID: id, Handles: write(t, cut(t, st, id), files, base, true)}
	}
	closeState(t, st)
	return o, base.Handles
}

// checkDamage: a part that is missing, cut short or changed fails the restore and
// the reading, with its name; nothing is restored instead.
func checkDamage(t T, f backend.Factory) {
	files := NewFiles()
	writer := newNode(t, f)
	_, handles := chainOf(t, writer, files)
	writer.close()
	n := newNode(t, f) // the writer may use what it has on its own disk instead
	defer n.close()
	for i, h := range handles {
		whole := files.read(h.File)
		flip := func(at int) []byte {
			b := slices.Clone(whole)
			b[at] ^= 0x10
			return b
		}
		for what, content := range map[string][]byte{
			"missing": nil, "empty": {}, "cut in half": whole[:len(whole)/2], "without its last byte": whole[:len(whole)-1],
			"flipped at the start": flip(1), "flipped in the middle": flip(len(whole) / 2), "flipped at the end": flip(len(whole) - 1),
			"longer": append(slices.Clone(whole), 0),
		} {
			files.change(h.File, content)
			expectDamage(t, n, files, handles, h.File, fmt.Sprintf("part %d of %d is %s", i+1, len(handles), what))
		}
		files.change(h.File, whole)
	}
	foreign := slices.Clone(handles)
	foreign[0] = &holdfastv1.StateHandle{File: "foreign", Name: "foreign", Format: "of another backend", Size: 1}
	files.change("foreign", []byte("x"))
	expectDamage(t, n, files, foreign, "foreign", "a part has another format")
}

func expectDamage(t T, n *node, files *Files, handles []*holdfastv1.StateHandle, name, what string) {
	t.Helper()
	st := open(t, n, space())
	if err := st.Restore(t.Context(), files, handles); err == nil || !contains(err, name) {
		t.Errorf("%s: Restore says %v, want an error with the name %s", what, err, name)
	}
	closeState(t, st)
	es, err := n.b.ReadSnapshot(t.Context(), backend.Spec{Name: "read-1", Space: space()}, files, handles)
	if err == nil {
		for es.Next() {
		}
		err = es.Err()
		_ = es.Close() // err is what matters
	}
	if err == nil || !contains(err, name) {
		t.Errorf("%s: ReadSnapshot says %v, want an error with the name %s", what, err, name)
	}
}
