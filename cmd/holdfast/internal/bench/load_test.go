package bench

import (
	"math/rand/v2"
	"os"
	"testing"
	"time"

	"github.com/holdfast-io/holdfast/stateserver/backend"
)

func TestSpread_OfRounds(t *testing.T) {
	got := spreadOf([]float64{5, 1, 9, 3})
	if want := (Spread{Rounds: 4, Median: 3, Min: 1, Max: 9}); got != want {
		t.Errorf("spread: %+v, want %+v", got, want)
	}
	if got := spreadOf(nil); got != (Spread{}) {
		t.Errorf("spread of nothing: %+v", got)
	}
	hundred := make([]float64, 100)
	for i := range hundred {
		hundred[i] = float64(i + 1)
	}
	for q, want := range map[float64]float64{0: 1, 0.5: 50, 0.99: 99, 1: 100} {
		if got := quantile(hundred, q); got != want {
			t.Errorf("quantile %v of 1 to 100 is %v, want %v", q, got, want)
		}
	}
}

func TestLoad_KnowsWhatItsBatchesComeTo(t *testing.T) {
	const keys = 5000
	l := newLoad(keys)
	counts := make([]uint32, keys)
	take := func(want int) {
		t.Helper()
		n := 0
		for _, b := range l.batches {
			seen := map[uint32]bool{}
			for _, k := range b {
				if seen[k] {
					t.Fatalf("key %d is twice in a batch", k)
				}
				seen[k] = true
				counts[k]++
			}
			n += len(b)
		}
		if n != want || l.changes() != want {
			t.Fatalf("the batches have %d keys and say %d, want %d", n, l.changes(), want)
		}
	}
	r := rand.New(rand.NewPCG(1, 2))
	l.all()
	take(keys)
	l.draw(r, 3)
	take(3 * batchKeys)
	l.subset(r, 2500)
	take(2500)
	distinct := map[uint32]bool{}
	for _, b := range l.batches {
		for _, k := range b {
			distinct[k] = true
		}
	}
	if len(distinct) != 2500 {
		t.Errorf("a subset of 2500 keys has %d different ones", len(distinct))
	}
	for k, n := range counts {
		if err := l.check(uint32(k), uint64(n)); err != nil {
			t.Error(err)
		}
	}
	if l.check(0, uint64(counts[0])+1) == nil {
		t.Error("a count that is one too high was not noticed")
	}
}

func TestCPUTime_OfAProcess(t *testing.T) {
	for end := time.Now().Add(10 * time.Second); ; {
		of, err := cpuOf(os.Getpid())
		if err != nil {
			t.Fatal(err)
		}
		if of > 0 && ownCPU() > 0 {
			break
		}
		if time.Now().After(end) {
			t.Fatal("no processor time in 10 s")
		}
	}
}

// What a measurement would print must be wrong where a backend loses a change.
func TestHostState_CheckFindsALostChange(t *testing.T) {
	for name, factory := range factories {
		b, err := factory(backend.Env{Dir: t.TempDir()})
		if err != nil {
			t.Fatal(err)
		}
		st, err := openState(t.Context(), b, "tested")
		if err != nil {
			t.Fatal(err)
		}
		l := newLoad(3000)
		l.all()
		for _, batch := range l.batches {
			if err := st.count(batch); err != nil {
				t.Fatal(err)
			}
		}
		if err := st.check(l); err != nil {
			t.Errorf("%s: %v", name, err)
		}
		l.want[2999]++
		if st.check(l) == nil {
			t.Errorf("%s: a change that was not made was not missed", name)
		}
		if err := st.Close(); err != nil {
			t.Error(err)
		}
		if err := b.Close(); err != nil {
			t.Error(err)
		}
	}
}

func TestEmbedded_CheckFindsALostChange(t *testing.T) {
	trees, err := openEmbedded(t.TempDir(), 1, 8<<20)
	if err != nil {
		t.Fatal(err)
	}
	l := newLoad(3000)
	l.all()
	if err := trees[0].run(l); err != nil {
		t.Fatal(err)
	}
	if err := trees[0].check(l); err != nil {
		t.Error(err)
	}
	l.want[0]--
	if trees[0].check(l) == nil {
		t.Error("a change too many was not noticed")
	}
	if err := trees[0].close(); err != nil {
		t.Error(err)
	}
}
