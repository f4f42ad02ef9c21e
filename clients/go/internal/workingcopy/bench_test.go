package workingcopy

import (
	"encoding/binary"
	"fmt"
	"testing"

	holdfastv1 "github.com/holdfast-io/holdfast/proto/holdfast/v1"
)

// answer fills everything that is missing with nothing.
func answer(b *testing.B, s *Store) {
	for r := s.NextRequest(65536, 4<<20); r != nil; r = s.NextRequest(65536, 4<<20) {
		v := &holdfastv1.Values{Last: true}
		for i, sec := range r.Sections() {
			n := len(sec.GetKeyLengths())
			v.Sections = append(v.Sections, &holdfastv1.ValueSection{
				StateId: sec.GetStateId(), Section: uint32(i), Found: make([]byte, n), ValueLengths: make([]uint32, n),
			})
		}
		if err := r.Fill(v); err != nil {
			b.Fatal(err)
		}
	}
}

// BenchmarkUpdates is one read, one change, and its share of a flush for every
// 100,000 of them.
func BenchmarkUpdates(b *testing.B) {
	for _, keys := range []int{1, 1000, 100000, 1000000} {
		b.Run(fmt.Sprintf("keys=%d", keys), func(b *testing.B) {
			s := New(Options{MaxBytes: 1 << 30})
			table := s.Table(1)
			names := make([][]byte, keys)
			for i := range names {
				names[i] = fmt.Appendf(nil, "key-%d", i)
				table.Entry(0, names[i])
			}
			answer(b, s)
			b.ReportAllocs()
			value, seq := make([]byte, 8), uint64(0)
			for i := 0; b.Loop(); i++ {
				e := table.Entry(0, names[i*7919%keys])
				old, _ := e.Value()
				n := uint64(1)
				if len(old) == 8 {
					n += binary.LittleEndian.Uint64(old)
				}
				binary.LittleEndian.PutUint64(value, n)
				e.Put(value)
				if i%100000 != 0 {
					continue
				}
				for seq++; s.NextFrame(seq, 192<<10) != nil; seq++ {
				}
				s.Ack(seq)
			}
		})
	}
}
