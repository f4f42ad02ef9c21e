package keyed

import (
	"bytes"
	"fmt"
	"sync"
	"testing"

	"github.com/holdfast-io/holdfast/internal/statevalue"
)

// TestView_WhileApplying: views are written, hashed and read with no lock
// while the writer goes on (run with -race).
func TestView_WhileApplying(t *testing.T) {
	s := newStore(t, testConfig())
	var readers sync.WaitGroup
	for round := range uint64(30) {
		for i := range 20 {
			sec, n := section(stBytes), section(stInt)
			for k := range 100 {
				key := fmt.Sprintf("k%d", (int(round)*7+i*13+k*3)%700)
				if (k+i)%5 == 0 {
					sec.op(OpDelete, key, "")
				} else {
					sec.put(key, fmt.Sprintf("%0*d", k%50, round))
				}
				n.op(OpAdd, key, i64(1))
			}
			apply(t, s, sec, n)
		}
		mustDo(t, s.Freeze(1, round+1))
		frozen, err := s.Frozen(1, round+1)
		mustDo(t, err)
		mustDo(t, s.DropVersionsBelow(1, round))
		if round%9 == 8 {
			mustDo(t, s.Restore(1, round))
		}
		want, view := s.Hash(), s.Capture()
		readers.Go(func() { checkView(t, view, frozen, want) })
	}
	readers.Wait()
}

func checkView(t *testing.T, view *View, frozen *Frozen, want uint64) {
	defer view.Release()
	var b bytes.Buffer
	if err := view.Write(&b); err != nil {
		t.Error(err)
		return
	}
	got, err := Read(&b)
	if err != nil || got.Hash() != want || view.Hash() != want {
		t.Errorf("a view changed: %v", err)
	}
	_, entries, _ := frozen.Bytes(stBytes)
	page, _, done, err := frozen.Scan(stBytes, Cursor{}, 10_000, 1<<30)
	if err != nil || !done || int64(len(page.KeyLengths)) != entries {
		t.Errorf("scan of %d entries: %d, %v, %v", entries, len(page.KeyLengths), done, err)
	}
	var v Values
	for i, n := range page.KeyLengths[:min(10, len(page.KeyLengths))] {
		v.Reset()
		err := frozen.Get(stBytes, ByHash, []uint32{n}, page.Keys[:n], &v)
		if err != nil || string(v.Values) != string(page.Values[:page.ValueLengths[i]]) {
			t.Errorf("key %q: %q, %v", page.Keys[:n], v.Values, err)
		}
		page.Keys, page.Values = page.Keys[n:], page.Values[page.ValueLengths[i]:]
	}
}

// TestGet_Concurrent: live reads run next to each other under a read lock.
func TestGet_Concurrent(t *testing.T) {
	s, mu := filled(t), sync.RWMutex{}
	var wg sync.WaitGroup
	for range 4 {
		wg.Go(func() {
			var v Values
			for range 300 {
				v.Reset()
				mu.RLock()
				err := s.Get(1, 0, stInt, ByHash, []uint32{1}, []byte("n"), &v)
				_, _, _, scanErr := s.Scan(1, 1, stBytes, Cursor{}, 10, 100)
				_ = s.Hash()
				mu.RUnlock()
				if err != nil || scanErr != nil || len(v.Values) != statevalue.NumberBytes {
					t.Error(err, scanErr)
				}
			}
		})
	}
	for range 300 {
		mu.Lock()
		apply(t, s, section(stInt).op(OpAdd, "n", i64(1)))
		mu.Unlock()
	}
	wg.Wait()
}
