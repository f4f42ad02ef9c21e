package storage_test

import (
	"slices"
	"strings"
	"testing"

	"github.com/holdfast-io/holdfast/stateserver/storage"
)

func FuzzLocation_Parse(f *testing.F) {
	for _, s := range []string{"file:///mnt/ckpt", "s3://bucket/a/b/", "hdfs://nn:8020", "file:/x", "file:///a/../b", "s3://u:p@b/x", "x", "://", "a:"} {
		f.Add(s)
	}
	roots, err := storage.ParseRoots([]string{"file:///mnt/ckpt", "s3://bucket/a"})
	if err != nil {
		f.Fatal(err)
	}
	f.Fuzz(func(t *testing.T, raw string) {
		l, err := storage.ParseLocation(raw)
		if err != nil {
			if !storage.Permanent(err) {
				t.Fatalf("%q: error of another kind: %v", raw, err)
			}
			return
		}
		again, err := storage.ParseLocation(l.String())
		if err != nil || again != l {
			t.Fatalf("%q is %+v, and %q is %+v (%v)", raw, l, l.String(), again, err)
		}
		for _, e := range strings.Split(l.Path, "/") {
			if e == ".." || e == "." {
				t.Fatalf("%q has %q", raw, e)
			}
		}
		// What is allowed has the elements of its root.
		root, err := roots.Find(l)
		if err != nil {
			return
		}
		want, got := strings.Split(root.Path, "/"), strings.Split(l.Path, "/")
		if l.Scheme != root.Scheme || len(got) < len(want) || !slices.Equal(got[:len(want)], want) {
			t.Fatalf("%q is allowed below %s", raw, root)
		}
	})
}
