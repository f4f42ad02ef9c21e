package rocksdb

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"google.golang.org/protobuf/proto"

	"github.com/holdfast-io/holdfast/internal/await"
	"github.com/holdfast-io/holdfast/raftstore/keyed"
	"github.com/holdfast-io/holdfast/stateserver/backend"
)

// TestSnapshot_Incremental: the second checkpoint of a large state with few changes
// writes little, and names the files of the first.
func TestSnapshot_Incremental(t *testing.T) {
	b, files := newBackend(t), newStorage()
	s := openState(t, b, "a", testSpace())
	want, r := map[string]string{}, rand.New(rand.NewPCG(1, 2))
	puts(t, s, want, r, 100_000, 100_000)
	mustDo(t, s.db.Compact(t.Context(), []byte{0}, []byte{0xff}, true)) // and no more for a while
	base := files.write(t, s, 1, nil, true)
	first := files.written
	puts(t, s, want, r, 100_000, 1_000)
	next := files.write(t, s, 2, base, true)
	if more := files.written - first; more > first/4 {
		t.Errorf("%d bytes were written for 1,000 changes, %d for the first checkpoint", more, first)
	}
	shared := 0
	for _, h := range next.Handles {
		if h.Shared {
			shared++
		}
	}
	if shared == 0 {
		t.Error("no file of the first checkpoint is named again")
	}
	if got := readAll(t, b, files, next.Handles)[stBytes]; !maps.Equal(got, want) {
		t.Error("the second checkpoint does not have what the state has")
	}
	before := files.written
	files.write(t, s, 3, next, false)
	if files.written-before < first/2 {
		t.Error("a full checkpoint wrote only what changed")
	}
}

// TestSnapshot_SameNameOtherTable: two attempts that are restored from one
// checkpoint give the same names to different tables. What the other one wrote is
// never named instead of one's own.
func TestSnapshot_SameNameOtherTable(t *testing.T) {
	b, files := newBackend(t), newStorage()
	old := openState(t, b, "a", testSpace())
	apply(t, old, section(stBytes).put("k", "0"))
	first := files.write(t, old, 1, nil, true)

	attempt := func(name, value string, n uint64, base *backend.Base) *backend.Base {
		s := openState(t, b, name, testSpace())
		mustDo(t, s.Restore(t.Context(), files, first.Handles))
		apply(t, s, section(stBytes).put("k", value))
		done := files.write(t, s, n, base, true)
		if got := readAll(t, b, files, done.Handles)[stBytes]["k"]; got != value {
			t.Fatalf("checkpoint %d of %s has %q, want %q", n, name, got, value)
		}
		return done
	}
	other := attempt("b", "1", 2, first)
	attempt("c", "2", 3, other) // as if it had been its own
}

// TestSnapshot_InlineTablesOfOneSize: tables that are inline have no hash, and two of
// the same size are not the same.
func TestSnapshot_InlineTablesOfOneSize(t *testing.T) {
	b, files := newBackend(t), newStorage()
	files.inline = 1 << 20
	s := openState(t, b, "a", testSpace())
	want := map[string]string{}
	var base *backend.Base
	for n := range uint64(4) {
		key := fmt.Sprintf("k%d", n)
		want[key] = fmt.Sprint(n)
		apply(t, s, section(stBytes).put(key, want[key]))
		base = files.write(t, s, n+1, base, true)
	}
	if got := readAll(t, b, files, base.Handles)[stBytes]; !maps.Equal(got, want) {
		t.Errorf("the snapshot has %v, want %v", got, want)
	}
	again := openState(t, b, "again", testSpace())
	mustDo(t, again.Restore(t.Context(), files, base.Handles))
	if got := contents(t, again, stBytes); !maps.Equal(got, want) {
		t.Errorf("restored: %v, want %v", got, want)
	}
}

// TestRestore_Damaged: a part that is missing, short, changed, doubled or foreign is
// an error that names it.
func TestRestore_Damaged(t *testing.T) {
	files := newStorage()
	s := openState(t, newBackend(t), "a", testSpace())
	puts(t, s, map[string]string{}, rand.New(rand.NewPCG(1, 2)), 1000, 5000)
	done := files.write(t, s, 1, nil, true)
	elsewhere := newBackend(t)
	check := func(what string, name string, base *backend.Base) {
		t.Helper()
		n := openState(t, elsewhere, "b", testSpace())
		if err := n.Restore(t.Context(), files, base.Handles); err == nil || !strings.Contains(err.Error(), name) {
			t.Errorf("%s: Restore says %v, want an error with %s", what, err, name)
		}
		it, err := elsewhere.ReadSnapshot(t.Context(), backend.Spec{Name: "r"}, files, base.Handles)
		if err == nil || !strings.Contains(err.Error(), name) {
			t.Errorf("%s: ReadSnapshot says %v, want an error with %s", what, err, name)
		}
		if err == nil {
			it.Close()
		}
	}
	for i, h := range done.Handles {
		whole := files.files[h.File]
		delete(files.files, h.File)
		check("missing", h.File, done)
		files.files[h.File] = whole[:len(whole)-1]
		check("short", h.File, done)
		flipped := append([]byte(nil), whole...)
		flipped[len(whole)/2] ^= 1
		files.files[h.File] = flipped
		check("flipped", h.File, done)
		files.files[h.File] = whole

		without := &backend.Base{Handles: append(append(done.Handles[:0:0], done.Handles[:i]...), done.Handles[i+1:]...)}
		check("left out", strings.TrimSuffix(h.Name, ".sst"), without)
		twice := &backend.Base{Handles: append(done.Handles[:len(done.Handles):len(done.Handles)], h)}
		check("twice", h.Name, twice)
		foreign := proto.CloneOf(h)
		foreign.Name = "../x.sst"
		check("foreign", "../x.sst", &backend.Base{Handles: append(without.Handles, foreign)})
	}
}

// TestRestore_OtherSpace: a snapshot of other key groups or types is refused.
func TestRestore_OtherSpace(t *testing.T) {
	b, files := newBackend(t), newStorage()
	s := openState(t, b, "a", testSpace())
	done := files.write(t, s, 1, nil, true)
	groups, types := testSpace(), testSpace()
	groups.End = 8
	types.States[0].Type = 1
	for i, space := range []keyed.SpaceConfig{groups, types} {
		n := openState(t, b, fmt.Sprint("n", i), space)
		if err := n.Restore(t.Context(), files, done.Handles); err == nil {
			t.Errorf("space %d is taken", i)
		}
	}
}

// TestRestore_TaskLocal: on the node that wrote a checkpoint, its tables are not
// downloaded; nor where it was restored.
func TestRestore_TaskLocal(t *testing.T) {
	b, files := newBackend(t), newStorage()
	s := openState(t, b, "a", testSpace())
	want, r := map[string]string{}, rand.New(rand.NewPCG(1, 2))
	puts(t, s, want, r, 10_000, 10_000)
	base := files.write(t, s, 1, nil, true)
	for i := range 4 {
		mustDo(t, s.Close())
		before := files.opened
		s = openState(t, b, fmt.Sprint("a", i), testSpace())
		mustDo(t, s.Restore(t.Context(), files, base.Handles))
		if opened := files.opened - before; opened != 1 {
			t.Errorf("restore %d opened %d files, want the one of %s", i, opened, metaName)
		}
		if got := contents(t, s, stBytes); !maps.Equal(got, want) {
			t.Fatalf("restore %d: other contents", i)
		}
		if i == 1 {
			puts(t, s, want, r, 10_000, 1000)
			base = files.write(t, s, 2, base, true)
		}
	}
}

// TestClose_LocalCopiesGo: what a closed state leaves goes in its time, though nothing
// else happens on the node: its job may have been the last.
func TestClose_LocalCopiesGo(t *testing.T) {
	b, files := newBackend(t), newStorage()
	b.local.keepFor = time.Millisecond
	for i := range 3 {
		s := openState(t, b, "a", testSpace())
		apply(t, s, section(stBytes).put("k", fmt.Sprint("v", i)))
		files.write(t, s, 1, nil, true)
		mustDo(t, s.Close())
		if b.local.moved != i+1 {
			t.Fatalf("%d local copies were left, want %d", b.local.moved, i+1)
		}
		await.Until(t, time.Minute, "the end of local copies", func() bool {
			left, err := os.ReadDir(b.dir)
			mustDo(t, err)
			kept, err := os.ReadDir(filepath.Join(b.dir, keptDir))
			return err == nil && len(left) == 1 && len(kept) == 0
		})
		b.local.mu.Lock()
		if n := len(b.local.paths); n != 0 {
			t.Errorf("%d files are known that are gone", n)
		}
		b.local.mu.Unlock()
	}
}

// TestSnapshot_LocalCopiesAreFew: local copies do not pile up, whether checkpoints
// are completed or not.
func TestSnapshot_LocalCopiesAreFew(t *testing.T) {
	b, files := newBackend(t), newStorage()
	s := openState(t, b, "a", testSpace())
	var base *backend.Base
	for n := uint64(1); n <= 20; n++ {
		apply(t, s, section(stBytes).put("k", fmt.Sprint(n)))
		done := files.write(t, s, n, base, true)
		if n%5 == 0 {
			base = done
		}
		if len(s.kept) > keepSets {
			t.Fatalf("%d local copies after checkpoint %d", len(s.kept), n)
		}
	}
}

// TestLoad_Rescale: two states of half the key groups each, filled from one of all.
func TestLoad_Rescale(t *testing.T) {
	b, files := newBackend(t), newStorage()
	s := openState(t, b, "a", testSpace())
	want := map[string]string{}
	puts(t, s, want, rand.New(rand.NewPCG(1, 2)), 5000, 10_000)
	apply(t, s, section(stInt).op(3, "n", i64(5)))
	done := files.write(t, s, 1, nil, true)
	got, ints := map[string]string{}, map[string]string{}
	for i := range 2 {
		space := testSpace()
		space.Start, space.End = uint32(8*i), uint32(8*i+8)
		n := openState(t, b, fmt.Sprint("n", i), space)
		it, err := b.ReadSnapshot(t.Context(), backend.Spec{Name: "r", Space: space}, files, done.Handles)
		mustDo(t, err)
		mustDo(t, errors.Join(n.Load(t.Context(), it), it.Close()))
		half := contents(t, n, stBytes)
		if len(half) < 2000 || len(half) > 3000 {
			t.Errorf("half %d has %d entries", i, len(half))
		}
		maps.Copy(got, half)
		maps.Copy(ints, contents(t, n, stInt))
		again := files.write(t, n, uint64(10+i), nil, true)
		if back := readAll(t, b, files, again.Handles)[stBytes]; !maps.Equal(back, half) {
			t.Errorf("a checkpoint of half %d has something else", i)
		}
	}
	if !maps.Equal(got, want) || ints["n"] != i64(5) {
		t.Fatal("the halves together are not the whole")
	}
}

// TestSnapshot_Cancelled: a writer stops when its context ends.
func TestSnapshot_Cancelled(t *testing.T) {
	s := openState(t, newBackend(t), "a", testSpace())
	apply(t, s, section(stBytes).put("k", "v"))
	snap, err := s.Cut(1)
	mustDo(t, err)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := snap.Write(ctx, newStorage(), nil, true); !errors.Is(err, context.Canceled) {
		t.Fatalf("Write: %v", err)
	}
	snap.Release()
	apply(t, s, section(stBytes).put("k", "w"))
}
