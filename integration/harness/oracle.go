package harness

import (
	"encoding/binary"
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"strings"
)

// flusherOp is what the i-th operation of the n-th flush (from 0) of a
// partition adds to which of its keys. Deltas are positive, so that the value
// of a key only rises.
func flusherOp(partition uint32, n int64, i, keys int) (key string, delta int64) {
	k := (n*31 + int64(i)*17 + int64(partition)) % int64(keys)
	return fmt.Sprintf("p%d-k%d", partition, k), 1 + (n*7+int64(i))%13
}

// FlusherSums computes what the sums are once exactly the first flushes[p]
// flushes of each partition p have been applied, each of them once.
func FlusherSums(flushes map[uint32]int64, ops, keys int) map[string]int64 {
	sums := map[string]int64{}
	for p, count := range flushes {
		for n := range count {
			for i := range ops {
				key, delta := flusherOp(p, n, i, keys)
				sums[key] += delta
			}
		}
	}
	return sums
}

// RecordKey is the key of the record at an offset of a partition of the
// generated source with a seed. A key occurs in one partition only, as
// co-partitioned jobs need it.
func RecordKey(seed uint64, partition uint32, offset int64, keys int) string {
	// The finalizer of SplitMix64 (Steele, Lea, Flood: Fast Splittable
	// Pseudorandom Number Generators, 2014).
	x := seed + uint64(partition)*0x9e3779b97f4a7c15 + uint64(offset)*0xbf58476d1ce4e5b9
	x = (x ^ x>>30) * 0xbf58476d1ce4e5b9
	x = (x ^ x>>27) * 0x94d049bb133111eb
	x ^= x >> 31
	return fmt.Sprintf("p%d-k%d", partition, x%uint64(keys))
}

// RecordCounts computes how often each key occurs in the records of the
// generated source from offset from[p] (absent: 0) up to, not including, to[p].
func RecordCounts(seed uint64, from, to map[uint32]int64, keys int) map[string]int64 {
	counts := map[string]int64{}
	for p, end := range to {
		for offset := from[p]; offset < end; offset++ {
			counts[RecordKey(seed, p, offset, keys)]++
		}
	}
	return counts
}

// RecordValue is what an operator with OperatorConfig.ValueBytes keeps of a record:
// bytes that nobody can compress.
func RecordValue(seed uint64, partition uint32, offset int64, size int) []byte {
	var s [32]byte
	binary.LittleEndian.PutUint64(s[:], seed)
	binary.LittleEndian.PutUint32(s[8:], partition)
	binary.LittleEndian.PutUint64(s[12:], uint64(offset))
	v := make([]byte, size)
	_, _ = rand.NewChaCha8(s).Read(v) // it never fails
	return v
}

// NewestOffsets are, by key, the last of the records up to, not including, to[p].
func NewestOffsets(seed uint64, to map[uint32]int64, keys int) map[string]RecordAt {
	newest := map[string]RecordAt{}
	for p, end := range to {
		for offset := range end {
			newest[RecordKey(seed, p, offset, keys)] = RecordAt{p, offset}
		}
	}
	return newest
}

// RecordAt is where a record is.
type RecordAt struct {
	Partition uint32
	Offset    int64
}

// Deviation is by how much a result is below what it must be, and by how much above,
// key by key.
func Deviation(got, want map[string]int64) (lost, double int64) {
	for k, n := range want {
		lost += max(n-got[k], 0)
	}
	for k, n := range got {
		double += max(n-want[k], 0)
	}
	return lost, double
}

// Difference tells in which keys two results differ: lost where got is below
// want, double where it is above. Empty: they are equal.
func Difference(got, want map[string]int64) string {
	keys := map[string]bool{}
	for k := range got {
		keys[k] = true
	}
	for k := range want {
		keys[k] = true
	}
	var lines []string
	lost, double := Deviation(got, want)
	if lost == 0 && double == 0 {
		return ""
	}
	for _, k := range slices.Sorted(maps.Keys(keys)) {
		if got[k] != want[k] && len(lines) < 10 {
			lines = append(lines, fmt.Sprintf("  %q: got %d, want %d", k, got[k], want[k]))
		}
	}
	return fmt.Sprintf("lost %d, double counted %d:\n%s", lost, double, strings.Join(lines, "\n"))
}

// Sum adds up the values.
func Sum(m map[string]int64) int64 {
	total := int64(0)
	for _, v := range m {
		total += v
	}
	return total
}
