package workingcopy

import (
	"errors"
	"testing"

	"google.golang.org/protobuf/proto"

	holdfastv1 "github.com/holdfast-io/holdfast/proto/holdfast/v1"
)

// FuzzFill takes any two messages as the answer to a Get: a bad one is
// ErrMalformed, an entry is filled once, and the accounts stay right.
func FuzzFill(f *testing.F) {
	answer := func(last bool, sections ...*holdfastv1.ValueSection) []byte {
		b, err := proto.Marshal(&holdfastv1.Values{Last: last, Sections: sections})
		if err != nil {
			f.Fatal(err)
		}
		return b
	}
	one := &holdfastv1.ValueSection{StateId: 1, Found: []byte{1, 0}, ValueLengths: []uint32{2, 0}, Values: []byte("xy")}
	two := &holdfastv1.ValueSection{StateId: 2, Section: 1, Found: []byte{1}, ValueLengths: []uint32{1}, Values: []byte("z")}
	f.Add(answer(false, one), answer(true, two))
	f.Add(answer(true, one, two), answer(true))
	f.Add(answer(false, two), answer(true, one))
	f.Add(answer(true), answer(true, &holdfastv1.ValueSection{StateId: 1, Section: 1 << 31, ValueLengths: []uint32{1 << 31}}))
	f.Fuzz(func(t *testing.T, first, second []byte) {
		s := New(Options{MaxBytes: 1 << 20})
		entries := []*Entry{s.Table(1).Entry(0, []byte("a")), s.Table(1).Entry(0, []byte("b")), s.Table(2).Entry(0, []byte("c"))}
		r := s.NextRequest(10, 1000)
		for _, data := range [][]byte{first, second} {
			v := &holdfastv1.Values{}
			if proto.Unmarshal(data, v) != nil {
				continue
			}
			if err := r.Fill(v); err != nil && !errors.Is(err, ErrMalformed) {
				t.Fatalf("error %v", err)
			} else if err != nil {
				break // the client ends the stream
			}
		}
		bytes := 0
		for _, e := range entries {
			if value, found := e.Value(); e.Loading() && (found || len(value) > 0) || r.Done() && e.Loading() {
				t.Fatalf("entry %q is %q, %v, loading %v, and the request done %v", e.Key(), value, found, e.Loading(), r.Done())
			}
			bytes += len(e.Key()) + cap(e.value) + entryOverhead
		}
		if s.Bytes() != bytes {
			t.Fatalf("counted %d bytes of %d", s.Bytes(), bytes)
		}
	})
}
