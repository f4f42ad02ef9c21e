package source

import "testing"

func TestBatch_ColumnsAreTakenApartAgain(t *testing.T) {
	var b Batch
	for range 2 {
		b.Append(Entry{Split: 1, Offset: 7, LeaderEpoch: 3, TimestampMillis: 9, Key: []byte("k"), Value: []byte("value")})
		b.Append(Entry{Offset: 8, Value: []byte{}})
		b.Append(Entry{Offset: 9, LeaderEpoch: -1, Key: []byte{}})
		if b.Len() != 3 || string(b.Key(0)) != "k" || string(b.Value(0)) != "value" ||
			b.Split(0) != 1 || b.Offset(2) != 9 || b.LeaderEpoch(0) != 3 || b.LeaderEpoch(2) != -1 || b.TimestampMillis(0) != 9 {
			t.Fatalf("batch %+v", b)
		}
		// Null is not empty.
		if b.Key(1) != nil || b.Value(1) == nil || b.Key(2) == nil || b.Value(2) != nil {
			t.Fatalf("nulls: %v %v %v %v", b.Key(1), b.Value(1), b.Key(2), b.Value(2))
		}
		b.Reset()
	}
}

func TestBatch_AValueCannotGrowIntoTheNext(t *testing.T) {
	var b Batch
	b.Append(Entry{Value: []byte("a")})
	b.Append(Entry{Value: []byte("b")})
	_ = append(b.Value(0), 'x')
	if string(b.Value(1)) != "b" {
		t.Fatalf("the second value is %q", b.Value(1))
	}
}

func TestBatch_ReuseMakesNoGarbage(t *testing.T) {
	var b Batch
	key, value := []byte("key"), []byte("value")
	fill := func() {
		b.Reset()
		for i := range 100 {
			b.Append(Entry{Offset: int64(i), Key: key, Value: value})
		}
	}
	fill()
	if n := testing.AllocsPerRun(100, fill); n != 0 {
		t.Errorf("%v allocations a batch", n)
	}
}
