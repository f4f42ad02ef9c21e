package bench

import (
	"encoding/binary"
	"fmt"
	"math/rand/v2"
)

// The load of the measurements of state on hosts: keys of 16 bytes, values of 8.
const (
	keyBytes, valueBytes = 16, 8
	// batchKeys are read and written together.
	batchKeys = 1024
)

// appendKey appends the i-th key. Neighbours differ in the first bytes, so that no
// order of the batches helps a backend that keeps its keys in order.
func appendKey(dst []byte, i uint32) []byte {
	dst = binary.BigEndian.AppendUint64(dst, uint64(i)*0x9e3779b97f4a7c15)
	return binary.BigEndian.AppendUint64(dst, uint64(i))
}

// load makes the batches of one slot and knows what they must come to. It is for
// one goroutine.
type load struct {
	want    []uint32 // by key: how often it was changed
	stamps  []uint32 // by key: the newest batch that has it
	stamp   uint32
	batches [][]uint32
}

func newLoad(keys int) *load {
	return &load{want: make([]uint32, keys), stamps: make([]uint32, keys)}
}

// all makes the batches that have every key once.
func (l *load) all() {
	l.batches = l.batches[:0]
	for from := 0; from < len(l.want); from += batchKeys {
		b := make([]uint32, min(batchKeys, len(l.want)-from))
		for i := range b {
			b[i] = uint32(from + i)
		}
		l.batches = append(l.batches, b)
	}
	l.count()
}

// draw makes n batches of keys at random; the keys of one batch differ, as a client
// coalesces them.
func (l *load) draw(r *rand.Rand, n int) {
	l.batches = l.batches[:0]
	for range n {
		l.stamp++
		l.fresh(r, batchKeys)
	}
	l.count()
}

func (l *load) count() {
	for _, b := range l.batches {
		for _, k := range b {
			l.want[k]++
		}
	}
}

// changes is the number of keys in the batches in hand.
func (l *load) changes() (n int) {
	for _, b := range l.batches {
		n += len(b)
	}
	return n
}

// check compares one key with what it must have.
func (l *load) check(key uint32, n uint64) error {
	if want := uint64(l.want[key]); n != want {
		return fmt.Errorf("the counts are wrong: key %d has %d, and it must have %d", key, n, want)
	}
	return nil
}

// subset makes batches of n different keys at random.
func (l *load) subset(r *rand.Rand, n int) {
	l.stamp++
	l.batches = l.batches[:0]
	for ; n > 0; n -= batchKeys {
		l.fresh(r, min(n, batchKeys))
	}
	l.count()
}

// fresh adds a batch of n keys that the stamp in hand does not have yet.
func (l *load) fresh(r *rand.Rand, n int) {
	b := make([]uint32, 0, n)
	for len(b) < n {
		if k := uint32(r.IntN(len(l.want))); l.stamps[k] != l.stamp {
			l.stamps[k] = l.stamp
			b = append(b, k)
		}
	}
	l.batches = append(l.batches, b)
}
