package filesystem

import (
	"encoding/binary"
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	holdfastv1 "github.com/holdfast-io/holdfast/proto/holdfast/v1"
	"github.com/holdfast-io/holdfast/raftstore/keyed"
	"github.com/holdfast-io/holdfast/stateserver/backend"
	"github.com/holdfast-io/holdfast/stateserver/backend/backendtest"
)

// The load of the benchmarks: keys of 16 bytes, values of 8, 128 key groups, batches
// of 1,024 existing keys in random order, ADD.
const (
	benchBatch  = 1024
	benchState  = 1
	benchGroups = 128
)

var benchSizes = []int{16 << 10, 1 << 20}

func benchSpace() keyed.SpaceConfig {
	return keyed.SpaceConfig{End: benchGroups, NumGroups: benchGroups, States: []keyed.StateConfig{{ID: benchState, Type: keyed.TypeInt64}}}
}

func benchKey(b []byte, i int) []byte {
	b = binary.BigEndian.AppendUint64(b, uint64(i)*0x9e3779b97f4a7c15)
	return binary.BigEndian.AppendUint64(b, uint64(i))
}

// fillSection makes a batch of ops on keys that next gives.
func fillSection(s *keyed.Section, op byte, next func() int) {
	s.StateID, s.KeyGroup = benchState, keyed.ByHash
	s.Ops, s.KeyLengths, s.Keys, s.ValueLengths, s.Values = s.Ops[:0], s.KeyLengths[:0], s.Keys[:0], s.ValueLengths[:0], s.Values[:0]
	for range benchBatch {
		i := next()
		s.Ops, s.KeyLengths, s.ValueLengths = append(s.Ops, op), append(s.KeyLengths, 16), append(s.ValueLengths, 8)
		s.Keys, s.Values = benchKey(s.Keys, i), binary.LittleEndian.AppendUint64(s.Values, 1)
	}
}

func fill(tb testing.TB, keys int, apply func([]keyed.Section) error) {
	tb.Helper()
	var s keyed.Section
	for i := 0; i < keys; {
		fillSection(&s, keyed.OpPut, func() int { i++; return i - 1 })
		if err := apply([]keyed.Section{s}); err != nil {
			tb.Fatal(err)
		}
	}
}

func filled(tb testing.TB, keys int) *state {
	tb.Helper()
	cfg, err := benchSpace().Normalize()
	if err != nil {
		tb.Fatal(err)
	}
	st := newState(cfg)
	fill(tb, keys, func(s []keyed.Section) error { return st.Apply(s, 0) })
	return st
}

func perOp(b *testing.B, ops int) {
	b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(ops), "ns/key")
}

// BenchmarkApply is a batch of ADD, here and in keyed.Store, in turn; sealed: each is
// the first change after a cut.
func BenchmarkApply(b *testing.B) {
	for _, keys := range benchSizes {
		r := rand.New(rand.NewPCG(1, 2))
		var s keyed.Section
		run := func(name string, apply func([]keyed.Section) error) {
			b.Run(fmt.Sprintf("%s/%d", name, keys), func(b *testing.B) {
				b.ReportAllocs()
				for b.Loop() {
					b.StopTimer()
					fillSection(&s, keyed.OpAdd, func() int { return r.IntN(keys) })
					b.StartTimer()
					if err := apply([]keyed.Section{s}); err != nil {
						b.Fatal(err)
					}
				}
				perOp(b, b.N*benchBatch)
			})
		}
		store := keyed.New()
		if err := store.Create(1, benchSpace()); err != nil {
			b.Fatal(err)
		}
		fill(b, keys, func(s []keyed.Section) error { return store.Apply(1, s, 0) })
		run("keyed", func(s []keyed.Section) error { return store.Apply(1, s, 0) })
		st := filled(b, keys)
		run("filesystem", func(s []keyed.Section) error { return st.Apply(s, 0) })
		n := 0
		run("sealed", func(s []keyed.Section) error {
			if n++; n%(keys/benchBatch/2+1) == 0 { // half of the keys change between two cuts
				sn, err := st.Cut(uint64(n))
				if err != nil {
					return err
				}
				sn.Release()
			}
			return st.Apply(s, 0)
		})
	}
}

// BenchmarkGet is a Get of 1,024 keys, here and in keyed.Store.
func BenchmarkGet(b *testing.B) {
	for _, keys := range benchSizes {
		r := rand.New(rand.NewPCG(3, 4))
		var s keyed.Section
		var vals keyed.Values
		run := func(name string, get func() error) {
			b.Run(fmt.Sprintf("%s/%d", name, keys), func(b *testing.B) {
				b.ReportAllocs()
				for b.Loop() {
					b.StopTimer()
					fillSection(&s, keyed.OpPut, func() int { return r.IntN(keys) })
					b.StartTimer()
					vals.Reset()
					if err := get(); err != nil {
						b.Fatal(err)
					}
				}
				perOp(b, b.N*benchBatch)
			})
		}
		store := keyed.New()
		if err := store.Create(1, benchSpace()); err != nil {
			b.Fatal(err)
		}
		fill(b, keys, func(s []keyed.Section) error { return store.Apply(1, s, 0) })
		run("keyed", func() error { return store.Get(1, 0, benchState, keyed.ByHash, s.KeyLengths, s.Keys, &vals) })
		st := filled(b, keys)
		run("filesystem", func() error { return st.Get(benchState, keyed.ByHash, s.KeyLengths, s.Keys, &vals, 0) })
	}
}

// BenchmarkCheckpoint is cuts of a million keys under full load, 10 % of them changed
// since the one before, while the snapshot before is written: how long the cut takes,
// how long the longest batch beside it, and what is written for what changed.
func BenchmarkCheckpoint(b *testing.B) {
	const keys = 1 << 20
	st, files := filled(b, keys), backendtest.NewFiles()
	r := rand.New(rand.NewPCG(5, 6))
	var base *backend.Base
	var s keyed.Section
	var cuts, batches []time.Duration
	var changed, written, id int64
	checkpoint := func(dirty int) {
		for range dirty / benchBatch {
			fillSection(&s, keyed.OpAdd, func() int { return r.IntN(keys) })
			at := time.Now()
			if err := st.Apply([]keyed.Section{s}, 0); err != nil {
				b.Fatal(err)
			}
			batches = append(batches, time.Since(at))
		}
		id++
		at := time.Now()
		sn, err := st.Cut(uint64(id))
		if err != nil {
			b.Fatal(err)
		}
		cuts = append(cuts, time.Since(at))
		done := make(chan []*holdfastv1.StateHandle)
		go func() {
			handles, err := sn.Write(b.Context(), files, base, true)
			if err != nil {
				b.Error(err)
			}
			done <- handles
		}()
		var handles []*holdfastv1.StateHandle
		for handles == nil { // full load beside the writing
			fillSection(&s, keyed.OpAdd, func() int { return r.IntN(keys) })
			at := time.Now()
			if err := st.Apply([]keyed.Section{s}, 0); err != nil {
				b.Fatal(err)
			}
			batches = append(batches, time.Since(at))
			select {
			case handles = <-done:
			default:
			}
		}
		sn.Release()
		base = &backend.Base{ID: uint64(id), Handles: handles}
	}
	checkpoint(benchBatch)
	cuts, batches = nil, nil
	logged, had := st.era.logged, files.Written()
	for b.Loop() {
		checkpoint(keys / 10)
	}
	changed, written = st.era.logged-logged, files.Written()-had
	slices.Sort(cuts)
	slices.Sort(batches)
	b.ReportMetric(float64(cuts[len(cuts)*99/100].Nanoseconds())/1000, "cut-p99-µs")
	b.ReportMetric(float64(batches[len(batches)*99/100].Nanoseconds())/1000, "batch-p99-µs")
	b.ReportMetric(float64(batches[len(batches)-1].Nanoseconds())/1000, "batch-max-µs")
	b.ReportMetric(float64(written)/float64(changed), "written/changed")
}

// BenchmarkRestore restores a million keys from one file.
func BenchmarkRestore(b *testing.B) {
	const keys = 1 << 20
	files := backendtest.NewFiles()
	sn, err := filled(b, keys).Cut(1)
	if err != nil {
		b.Fatal(err)
	}
	handles, err := sn.Write(b.Context(), files, nil, false)
	if err != nil {
		b.Fatal(err)
	}
	cfg, err := benchSpace().Normalize()
	if err != nil {
		b.Fatal(err)
	}
	for b.Loop() {
		st := newState(cfg)
		if err := st.Restore(b.Context(), files, handles); err != nil {
			b.Fatal(err)
		}
	}
	b.ReportMetric(float64(b.N)*keys/b.Elapsed().Seconds()/1e6, "Mkeys/s")
}
