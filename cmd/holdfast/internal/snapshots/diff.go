package snapshots

import (
	"bytes"
	"cmp"

	holdfastv1 "github.com/holdfast-io/holdfast/proto/holdfast/v1"
)

// Entries yields entries in the order of key group and key. A Reader is one.
type Entries interface {
	// Next returns nil after the last entry, or on an error, which Err has then.
	Next() *holdfastv1.StateEntry
	Err() error
}

// Counts are the differences by their kind.
type Counts struct{ Added, Removed, Changed uint64 }

// Any tells whether there is a difference.
func (c Counts) Any() bool { return c != Counts{} }

// Merge compares two states and calls differs for each key that is not the same in
// both: before is nil where it was added, after where it was removed. It holds one
// entry of each.
func Merge(a, b Entries, differs func(before, after *holdfastv1.StateEntry) error) (n Counts, err error) {
	before, after := a.Next(), b.Next()
	for before != nil || after != nil {
		// An end that is an error is no end.
		if before == nil && a.Err() != nil || after == nil && b.Err() != nil {
			break
		}
		switch order := compare(before, after); {
		case order < 0:
			n.Removed++
			err = differs(before, nil)
			before = a.Next()
		case order > 0:
			n.Added++
			err = differs(nil, after)
			after = b.Next()
		default:
			if !bytes.Equal(before.GetValue(), after.GetValue()) {
				n.Changed++
				err = differs(before, after)
			}
			before, after = a.Next(), b.Next()
		}
		if err != nil {
			return n, err
		}
	}
	if err := a.Err(); err != nil {
		return n, err
	}
	return n, b.Err()
}

// compare puts what is there before what is not.
func compare(a, b *holdfastv1.StateEntry) int {
	switch {
	case a == nil:
		return 1
	case b == nil:
		return -1
	}
	return cmp.Or(cmp.Compare(a.GetKeyGroup(), b.GetKeyGroup()), bytes.Compare(a.GetKey(), b.GetKey()))
}
