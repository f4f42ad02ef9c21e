package keyed

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"io"
	"math/rand/v2"
	"testing"
)

// benchStore returns a store with n keys of 16 bytes and values of 8, in 128
// key groups, and flushes of 1,024 of them in random order.
func benchStore(b *testing.B, n int, op Op) (*Store, []Section) {
	s := newStore(b, SpaceConfig{End: 128, NumGroups: 128, States: []StateConfig{
		{ID: stBytes, MaxBytes: 1 << 40}, {ID: stInt, Type: TypeInt64, MaxBytes: 1 << 40},
	}})
	state := stBytes
	if op == OpAdd {
		state = stInt
	}
	rnd := rand.New(rand.NewPCG(1, 2))
	var flushes []Section
	sec := section(state)
	for i, k := range rnd.Perm(n) {
		sec.op(op, fmt.Sprintf("%016d", k), i64(1))
		if len(sec.Ops) == 1024 || i == n-1 {
			apply(b, s, sec)
			flushes = append(flushes, *sec)
			sec = section(state)
		}
	}
	return s, flushes
}

func perOp(b *testing.B, ops int) {
	b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N*ops), "ns/change")
}

// The middle one is the default limit of the memory backend, 5 MiB.
var benchSizes = []int{1 << 14, 5 << 20 / 24, 1 << 20}

// BenchmarkApply1024 is a flush of 1,024 changes of existing keys.
func BenchmarkApply1024(b *testing.B) {
	for name, op := range map[string]Op{"put": OpPut, "add": OpAdd} {
		for _, n := range benchSizes {
			b.Run(fmt.Sprintf("%s/keys=%d", name, n), func(b *testing.B) {
				s, flushes := benchStore(b, n, op)
				b.ReportAllocs()
				for i := 0; b.Loop(); i++ {
					mustDo(b, s.Apply(1, flushes[i%len(flushes):][:1], 0))
				}
				perOp(b, 1024)
			})
		}
	}
	b.Run("put/near limit", func(b *testing.B) {
		s, flushes := benchStore(b, 1<<14, OpPut)
		s.spaces[1].cfg.States[0].MaxBytes = 24 << 14
		b.ReportAllocs()
		for i := 0; b.Loop(); i++ {
			mustDo(b, s.Apply(1, flushes[i%len(flushes):][:1], 0))
		}
		perOp(b, 1024)
	})
}

// BenchmarkInsert is the growth of an empty state to 2^20 keys, by flush.
func BenchmarkInsert(b *testing.B) {
	s, flushes := benchStore(b, 1<<20, OpPut)
	b.ReportAllocs()
	for i := 0; b.Loop(); i++ {
		if i%len(flushes) == 0 {
			mustDo(b, s.Restore(1, 0))
		}
		mustDo(b, s.Apply(1, flushes[i%len(flushes):][:1], 0))
	}
	perOp(b, 1024)
}

// BenchmarkGet1024 is a lookup of 1,024 existing keys.
func BenchmarkGet1024(b *testing.B) {
	for _, n := range benchSizes {
		b.Run(fmt.Sprintf("keys=%d", n), func(b *testing.B) {
			s, flushes := benchStore(b, n, OpPut)
			var v Values
			b.ReportAllocs()
			for i := 0; b.Loop(); i++ {
				f := &flushes[i%len(flushes)]
				v.Reset()
				mustDo(b, s.Get(1, 0, stBytes, ByHash, f.KeyLengths, f.Keys, &v))
			}
			perOp(b, 1024)
		})
	}
}

// BenchmarkFreezeThenTouchAll is a checkpoint of 5 MiB of state, every key
// group of which is written after it.
func BenchmarkFreezeThenTouchAll(b *testing.B) {
	s, flushes := benchStore(b, 5<<20/24, OpPut)
	b.ReportAllocs()
	for n := uint64(1); b.Loop(); n++ {
		mustDo(b, s.Freeze(1, n))
		mustDo(b, s.DropVersionsBelow(1, n))
		mustDo(b, s.Apply(1, flushes[:1], 0))
	}
}

// BenchmarkFreeze is the checkpoint alone.
func BenchmarkFreeze(b *testing.B) {
	s, _ := benchStore(b, 5<<20/24, OpPut)
	b.ReportAllocs()
	for n := uint64(1); b.Loop(); n++ {
		mustDo(b, s.Freeze(1, n))
		mustDo(b, s.DropVersionsBelow(1, n))
	}
}

// BenchmarkCaptureWrite is a snapshot of 2^20 keys with a frozen version that
// shares them.
func BenchmarkCaptureWrite(b *testing.B) {
	s, _ := benchStore(b, 1<<20, OpPut)
	mustDo(b, s.Freeze(1, 1))
	b.SetBytes(24 << 20)
	b.ReportAllocs()
	for b.Loop() {
		v := s.Capture()
		mustDo(b, v.Write(io.Discard))
		v.Release()
	}
}

// BenchmarkRead is the restore of that snapshot.
func BenchmarkRead(b *testing.B) {
	s, _ := benchStore(b, 1<<20, OpPut)
	mustDo(b, s.Freeze(1, 1))
	snapshot := written(b, s)
	b.SetBytes(24 << 20)
	b.ReportAllocs()
	for b.Loop() {
		_, err := Read(bytes.NewReader(snapshot))
		mustDo(b, err)
	}
}

// BenchmarkHash reads 2^20 keys.
func BenchmarkHash(b *testing.B) {
	s, _ := benchStore(b, 1<<20, OpPut)
	b.SetBytes(24 << 20)
	sum := uint64(0)
	for b.Loop() {
		sum ^= s.Hash()
	}
	_ = binary.LittleEndian.AppendUint64(nil, sum)
}

// BenchmarkScan is a page of 1,000 of 2^20 keys.
func BenchmarkScan(b *testing.B) {
	s, _ := benchStore(b, 1<<20, OpPut)
	var at Cursor
	for b.Loop() {
		_, next, done, err := s.Scan(1, 0, stBytes, at, 1000, 1<<20)
		mustDo(b, err)
		if at = next; done {
			at = Cursor{}
		}
	}
}
