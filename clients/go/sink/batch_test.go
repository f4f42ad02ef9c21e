package sink

import (
	"bytes"
	"testing"
	"time"

	"pgregory.net/rapid"
)

// TestBatch_RoundTrip: records come out as they went in, null apart from empty.
func TestBatch_RoundTrip(t *testing.T) {
	octets := func(r *rapid.T, name string) []byte {
		if rapid.Bool().Draw(r, name+" null") {
			return nil
		}
		return append([]byte{}, rapid.SliceOfN(rapid.Byte(), 0, 200).Draw(r, name)...)
	}
	rapid.Check(t, func(r *rapid.T) {
		var in []Record
		var b Batch
		for range rapid.IntRange(0, 20).Draw(r, "records") {
			rec := Record{Topic: rapid.String().Draw(r, "topic"), Key: octets(r, "key"), Value: octets(r, "value")}
			if rapid.Bool().Draw(r, "timed") {
				rec.Timestamp = time.UnixMilli(rapid.Int64Range(0, 1<<41).Draw(r, "time"))
			}
			for range rapid.IntRange(0, 3).Draw(r, "headers") {
				rec.Headers = append(rec.Headers, Header{rapid.String().Draw(r, "header"), octets(r, "header value")})
			}
			in, b = append(in, rec), b.Append(&rec)
		}
		var out Record
		for i := range in {
			var err error
			if b, err = b.Next(&out); err != nil {
				r.Fatal(err)
			}
			same := func(x, y []byte) bool { return bytes.Equal(x, y) && (x == nil) == (y == nil) }
			if out.Topic != in[i].Topic || !same(out.Key, in[i].Key) || !same(out.Value, in[i].Value) || !out.Timestamp.Equal(in[i].Timestamp) || len(out.Headers) != len(in[i].Headers) {
				r.Fatalf("record %d is %+v, was %+v", i, out, in[i])
			}
			for n, h := range in[i].Headers {
				if out.Headers[n].Key != h.Key || !same(out.Headers[n].Value, h.Value) {
					r.Fatalf("header %d of record %d is %+v, was %+v", n, i, out.Headers[n], h)
				}
			}
		}
		if len(b) != 0 {
			r.Fatalf("%d bytes are left", len(b))
		}
	})
}

// TestBatch_AppendAllocatesNothing once there is room.
func TestBatch_AppendAllocatesNothing(t *testing.T) {
	rec := Record{Key: []byte("key"), Value: []byte("value")}
	b := make(Batch, 0, 1<<10)
	if n := testing.AllocsPerRun(100, func() { b = b[:0].Append(&rec) }); n != 0 {
		t.Errorf("%v allocations a record", n)
	}
}

// FuzzBatch_Next takes any bytes.
func FuzzBatch_Next(f *testing.F) {
	f.Add([]byte(Batch(nil).Append(&Record{Topic: "t", Key: []byte("k"), Headers: []Header{{"h", nil}}})))
	f.Fuzz(func(_ *testing.T, b []byte) {
		var r Record
		for rest := Batch(b); len(rest) > 0; {
			next, err := rest.Next(&r)
			if err != nil || len(next) >= len(rest) {
				return
			}
			rest = next
		}
	})
}
