package snapshots

import (
	"bytes"
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"testing"

	holdfastv1 "github.com/holdfast-io/holdfast/proto/holdfast/v1"
)

// listed are entries that end with an error, or without.
type listed struct {
	entries []*holdfastv1.StateEntry
	err     error
}

func (l *listed) Next() *holdfastv1.StateEntry {
	if len(l.entries) == 0 {
		return nil
	}
	e := l.entries[0]
	l.entries = l.entries[1:]
	return e
}

func (l *listed) Err() error {
	if len(l.entries) > 0 {
		return nil
	}
	return l.err
}

// entriesOf are those of a map of group/key to value, in order.
func entriesOf(m map[[2]byte]byte) *listed {
	l := &listed{}
	for _, k := range slices.SortedFunc(maps.Keys(m), func(a, b [2]byte) int { return bytes.Compare(a[:], b[:]) }) {
		l.entries = append(l.entries, &holdfastv1.StateEntry{KeyGroup: uint32(k[0]), Key: k[1:], Value: []byte{m[k]}, Found: true})
	}
	return l
}

func random(r *rand.Rand) map[[2]byte]byte {
	m := map[[2]byte]byte{}
	for range r.IntN(12) {
		m[[2]byte{byte(r.IntN(3)), byte(r.IntN(4))}] = byte(r.IntN(2))
	}
	return m
}

// TestMerge_AgainstMaps compares small random states with what two maps say.
func TestMerge_AgainstMaps(t *testing.T) {
	for seed := range uint64(3000) {
		r := rand.New(rand.NewPCG(seed, 1))
		a, b := random(r), random(r)
		want := map[string]bool{}
		for k, v := range a {
			if w, ok := b[k]; !ok {
				want[fmt.Sprint("-", k, v)] = true
			} else if v != w {
				want[fmt.Sprint("~", k, v, w)] = true
			}
		}
		for k, v := range b {
			if _, ok := a[k]; !ok {
				want[fmt.Sprint("+", k, v)] = true
			}
		}
		got := map[string]bool{}
		n, err := Merge(entriesOf(a), entriesOf(b), func(before, after *holdfastv1.StateEntry) error {
			e := before
			if e == nil {
				e = after
			}
			k := [2]byte{byte(e.GetKeyGroup()), e.GetKey()[0]}
			switch {
			case before == nil:
				got[fmt.Sprint("+", k, after.GetValue()[0])] = true
			case after == nil:
				got[fmt.Sprint("-", k, before.GetValue()[0])] = true
			default:
				got[fmt.Sprint("~", k, before.GetValue()[0], after.GetValue()[0])] = true
			}
			return nil
		})
		if err != nil || !maps.Equal(got, want) || int(n.Added+n.Removed+n.Changed) != len(want) || n.Any() != (len(want) > 0) {
			t.Fatalf("seed %d: %v and %v: got %v, %+v, %v; want %v", seed, a, b, got, n, err, want)
		}
	}
}

// A state that breaks off has not lost its later keys.
func TestMerge_AnErrorIsNoEnd(t *testing.T) {
	whole := map[[2]byte]byte{{0, 1}: 1, {0, 2}: 2, {1, 1}: 3}
	for name, broken := range map[string]bool{"the first": true, "the second": false} {
		short := entriesOf(map[[2]byte]byte{{0, 1}: 1})
		short.err = errors.New("broken")
		a, b := Entries(short), Entries(entriesOf(whole))
		if !broken {
			a, b = b, a
		}
		n, err := Merge(a, b, func(_, _ *holdfastv1.StateEntry) error { return nil })
		if err == nil || err.Error() != "broken" || n.Any() {
			t.Errorf("%s: %+v, %v", name, n, err)
		}
	}
}

func TestURL_Paths(t *testing.T) {
	for path, want := range map[string]string{"/mnt/s": "file:///mnt/s", "s3://b/s": "s3://b/s", "file:///x": "file:///x", "s": "s"} {
		if got := URL(path); got != want {
			t.Errorf("%s: %s", path, got)
		}
	}
}
