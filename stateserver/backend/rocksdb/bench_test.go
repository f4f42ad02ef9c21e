package rocksdb

import (
	"encoding/binary"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"testing"
	"time"

	"github.com/cockroachdb/pebble/v2"
	"github.com/cockroachdb/pebble/v2/bloom"

	"github.com/holdfast-io/holdfast/raftstore/keyed"
	"github.com/holdfast-io/holdfast/stateserver/backend"
)

// The benchmarks read, change and write batches of 1,024 of a number of keys, 16
// bytes with a value of 8: BENCH_KEYS has the number, one million without it. The
// state and Pebble by itself take turns, with the same options, and the sum of all
// counts is checked before a figure is printed.
const benchBatch = 1024

func benchKeys(b *testing.B) (keys int, cache int64) {
	keys = 1_000_000
	if v := os.Getenv("BENCH_KEYS"); v != "" {
		if _, err := fmt.Sscan(v, &keys); err != nil {
			b.Fatal(err)
		}
	}
	cache = 256 << 20
	if keys > 1_000_000 {
		cache = int64(keys) * 32 / 8 // an eighth of what the tree has of them
	}
	return keys, cache
}

func benchKey(dst []byte, i int) []byte {
	dst = binary.BigEndian.AppendUint64(dst, uint64(i)*0x9e3779b97f4a7c15)
	return binary.BigEndian.AppendUint64(dst, uint64(i))
}

// counter counts keys.
type counting interface {
	// count reads the keys, adds 1 to each, and writes them.
	count(keys []int)
	// sum adds up all counts.
	sum() uint64
	flush()
}

// stateCounter counts in a state, by columns.
type stateCounter struct {
	b    *testing.B
	s    *State
	sec  keyed.Section
	vals keyed.Values
}

func newStateCounter(b *testing.B, cache int64) *stateCounter {
	be, err := New(backend.Env{Dir: b.TempDir(), CacheBytes: cache})
	mustDo(b, err)
	b.Cleanup(func() { mustDo(b, be.Close()) })
	space := testSpace()
	space.Start, space.End, space.NumGroups = 0, 128, 128
	return &stateCounter{b: b, s: openState(b, be.(*Backend), "bench", space)}
}

func (c *stateCounter) count(keys []int) {
	sec := &c.sec
	*sec = keyed.Section{StateID: stInt, KeyGroup: keyed.ByHash, Ops: sec.Ops[:0], KeyLengths: sec.KeyLengths[:0], Keys: sec.Keys[:0],
		ValueLengths: sec.ValueLengths[:0], Values: sec.Values[:0]}
	for _, k := range keys {
		sec.Ops, sec.KeyLengths, sec.ValueLengths = append(sec.Ops, keyed.OpPut), append(sec.KeyLengths, 16), append(sec.ValueLengths, 8)
		sec.Keys = benchKey(sec.Keys, k)
	}
	c.vals.Reset()
	mustDo(c.b, c.s.Get(stInt, keyed.ByHash, sec.KeyLengths, sec.Keys, &c.vals, 0))
	at := 0
	for _, found := range c.vals.Found {
		n := uint64(1)
		if found == 1 {
			n += binary.LittleEndian.Uint64(c.vals.Values[at:])
			at += 8
		}
		sec.Values = binary.LittleEndian.AppendUint64(sec.Values, n)
	}
	mustDo(c.b, c.s.Apply([]keyed.Section{*sec}, 0))
}

func (c *stateCounter) flush() { mustDo(c.b, c.s.db.Flush()) }

func (c *stateCounter) sum() (sum uint64) {
	it, err := c.s.db.NewIter(nil)
	mustDo(c.b, err)
	for ok := it.First(); ok; ok = it.Next() {
		sum += binary.LittleEndian.Uint64(it.Value()[1:])
	}
	mustDo(c.b, it.Close())
	return sum
}

// pebbleCounter counts in Pebble, as a program would that has it inside.
type pebbleCounter struct {
	b     *testing.B
	db    *pebble.DB
	batch *pebble.Batch
	keys  []byte
}

func newPebbleCounter(b *testing.B, cache int64) *pebbleCounter {
	o := &pebble.Options{
		DisableWAL: true, NoSyncOnClose: true, MemTableSize: uint64(min(maxMemTable, cache/8)), MemTableStopWritesThreshold: memTables,
		FormatMajorVersion: formatVersion, Cache: pebble.NewCache(cache), L0StopWritesThreshold: 64,
		CompactionConcurrencyRange: func() (int, int) { return 1, 2 },
	}
	o.Levels[0].FilterPolicy = bloom.FilterPolicy(10)
	db, err := pebble.Open(b.TempDir(), o)
	mustDo(b, err)
	o.Cache.Unref()
	c := &pebbleCounter{b: b, db: db, batch: db.NewBatch()}
	b.Cleanup(func() { mustDo(b, errors.Join(c.batch.Close(), db.Close())) })
	return c
}

func (c *pebbleCounter) count(keys []int) {
	c.batch.Reset()
	c.keys = c.keys[:0]
	for _, k := range keys {
		c.keys = benchKey(c.keys, k)
	}
	var value [8]byte
	for i := range keys {
		key := c.keys[16*i : 16*i+16]
		n := uint64(1)
		v, closer, err := c.db.Get(key)
		switch {
		case err == nil:
			n += binary.LittleEndian.Uint64(v)
			mustDo(c.b, closer.Close())
		case !errors.Is(err, pebble.ErrNotFound):
			c.b.Fatal(err)
		}
		binary.LittleEndian.PutUint64(value[:], n)
		mustDo(c.b, c.batch.Set(key, value[:], nil))
	}
	mustDo(c.b, c.batch.Commit(pebble.NoSync))
}

func (c *pebbleCounter) flush() { mustDo(c.b, c.db.Flush()) }

func (c *pebbleCounter) sum() (sum uint64) {
	it, err := c.db.NewIter(nil)
	mustDo(c.b, err)
	for ok := it.First(); ok; ok = it.Next() {
		sum += binary.LittleEndian.Uint64(it.Value())
	}
	mustDo(c.b, it.Close())
	return sum
}

// BenchmarkReadModifyWrite takes turns of 64 batches.
func BenchmarkReadModifyWrite(b *testing.B) {
	keys, cache := benchKeys(b)
	peers := []counting{newStateCounter(b, cache), newPebbleCounter(b, cache)}
	r := rand.New(rand.NewPCG(1, 2))
	batch := make([]int, benchBatch)
	want := uint64(0)
	for _, c := range peers { // every key is there
		for from := 0; from < keys; from += benchBatch {
			n := min(benchBatch, keys-from)
			for i := range n {
				batch[i] = from + i
			}
			c.count(batch[:n])
		}
		c.flush()
	}
	want += uint64(keys)
	var took [2]time.Duration
	ops := 0
	b.ResetTimer()
	for b.Loop() {
		seed := r.Uint64()
		for i, c := range peers {
			r := rand.New(rand.NewPCG(seed, 3))
			begin := time.Now()
			for range 64 {
				picked := map[int]bool{}
				for j := range batch {
					batch[j] = r.IntN(keys)
					for picked[batch[j]] {
						batch[j] = r.IntN(keys)
					}
					picked[batch[j]] = true
				}
				c.count(batch)
			}
			took[i] += time.Since(begin)
		}
		ops += 64 * benchBatch
	}
	b.StopTimer()
	want += uint64(ops)
	for i, c := range peers {
		if got := c.sum(); got != want {
			b.Fatalf("peer %d counted %d, want %d", i, got, want)
		}
	}
	rate := func(d time.Duration) float64 { return float64(ops) / d.Seconds() }
	b.ReportMetric(0, "ns/op")
	b.ReportMetric(rate(took[0]), "rocksdb-ops/s")
	b.ReportMetric(rate(took[1]), "pebble-ops/s")
	b.ReportMetric(rate(took[0])/rate(took[1]), "ratio")
}

// BenchmarkAdd merges instead of reading.
func BenchmarkAdd(b *testing.B) {
	keys, cache := benchKeys(b)
	c := newStateCounter(b, cache)
	r := rand.New(rand.NewPCG(1, 2))
	sec := section(stInt)
	one := i64(1)
	ops := 0
	b.ReportAllocs()
	for b.Loop() {
		sec.Section = keyed.Section{StateID: stInt, KeyGroup: keyed.ByHash, Ops: sec.Ops[:0], KeyLengths: sec.KeyLengths[:0], Keys: sec.Keys[:0],
			ValueLengths: sec.ValueLengths[:0], Values: sec.Values[:0]}
		for range benchBatch {
			sec.Ops, sec.KeyLengths, sec.ValueLengths = append(sec.Ops, keyed.OpAdd), append(sec.KeyLengths, 16), append(sec.ValueLengths, 8)
			sec.Keys, sec.Values = benchKey(sec.Keys, r.IntN(keys)), append(sec.Values, one...)
		}
		mustDo(b, c.s.Apply([]keyed.Section{sec.Section}, 0))
		ops += benchBatch
	}
	if got := c.sum(); got != uint64(ops) {
		b.Fatalf("counted %d, want %d", got, ops)
	}
	b.ReportMetric(float64(ops)/b.Elapsed().Seconds(), "ops/s")
}

// BenchmarkGet looks keys up, one row a key.
func BenchmarkGet(b *testing.B) {
	keys, cache := benchKeys(b)
	c := newStateCounter(b, cache)
	batch := make([]int, benchBatch)
	for from := 0; from+benchBatch <= keys; from += benchBatch {
		for i := range batch {
			batch[i] = from + i
		}
		c.count(batch)
	}
	r := rand.New(rand.NewPCG(1, 2))
	var lengths []uint32
	var packed []byte
	ops := 0
	b.ReportAllocs()
	for b.Loop() {
		lengths, packed = lengths[:0], packed[:0]
		for range benchBatch {
			lengths, packed = append(lengths, 16), benchKey(packed, r.IntN(keys/benchBatch*benchBatch))
		}
		c.vals.Reset()
		mustDo(b, c.s.Get(stInt, keyed.ByHash, lengths, packed, &c.vals, 0))
		ops += benchBatch
	}
	b.ReportMetric(float64(ops)/b.Elapsed().Seconds(), "keys/s")
}

// BenchmarkCut cuts and writes incrementally under full load, each time after 100
// batches. The worst pause of the cuts is reported.
func BenchmarkCut(b *testing.B) {
	keys, cache := benchKeys(b)
	c := newStateCounter(b, cache)
	batch := make([]int, benchBatch)
	for from := 0; from+benchBatch <= keys; from += benchBatch {
		for i := range batch {
			batch[i] = from + i
		}
		c.count(batch)
	}
	files := newStorage()
	base := files.write(b, c.s, 1, nil, true)
	r := rand.New(rand.NewPCG(1, 2))
	var worst, total time.Duration
	n := uint64(1)
	for b.Loop() {
		for range 100 {
			for i := range batch {
				batch[i] = r.IntN(keys)
			}
			c.count(batch[:1])
		}
		n++
		begin := time.Now()
		snap, err := c.s.Cut(n)
		d := time.Since(begin)
		mustDo(b, err)
		worst, total = max(worst, d), total+d
		base = files.finish(b, snap, n, base, true)
		clear(files.files) // memory
	}
	b.ReportMetric(float64(worst.Microseconds()), "worst-µs")
	b.ReportMetric(float64(total.Microseconds())/float64(n-1), "mean-µs")
}
