package rocksdb

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"

	"github.com/cockroachdb/pebble/v2/vfs"
)

// fullDisk fails writes while it is full.
type fullDisk struct {
	vfs.FS
	full atomic.Bool
}

func (d *fullDisk) Create(name string, c vfs.DiskWriteCategory) (vfs.File, error) {
	f, err := d.FS.Create(name, c)
	if err != nil {
		return nil, err
	}
	return &fullFile{f, d}, nil
}

type fullFile struct {
	vfs.File
	d *fullDisk
}

func (f *fullFile) Write(p []byte) (int, error) {
	if f.d.full.Load() {
		return 0, &os.PathError{Op: "write", Path: "x", Err: syscall.ENOSPC}
	}
	return f.File.Write(p)
}

// TestState_DiskFull: a full disk loses the state with the reason: no call hangs,
// and the process goes on.
func TestState_DiskFull(t *testing.T) {
	b := newBackend(t)
	s := openState(t, b, "a", testSpace())
	disk := &fullDisk{FS: s.fs.FS}
	s.fs.FS = disk // before anything is written
	want := map[string]string{}
	r := rand.New(rand.NewPCG(1, 2))
	puts(t, s, want, r, 10_000, 10_000)
	disk.full.Store(true)
	var err error
	for i := 0; err == nil && i < 1000; i++ {
		sec := section(stBytes)
		for range 1000 {
			sec.put(fmt.Sprint(r.Uint64()), "some value")
		}
		err = tryApply(s, sec)
	}
	if !errors.Is(err, syscall.ENOSPC) {
		t.Fatalf("Apply on a full disk: %v", err)
	}
	if _, err := s.Cut(1); !errors.Is(err, syscall.ENOSPC) {
		t.Fatalf("Cut on a full disk: %v", err)
	}
	mustDo(t, s.Close())
}

// TestState_Fatal: where Pebble would end the process only the state is lost.
func TestState_Fatal(t *testing.T) {
	b := newBackend(t)
	s := openState(t, b, "a", testSpace())
	l := &logger{log: s.log, fail: s.fs.fail}
	err := s.do("test", func() error {
		l.Fatalf("no way to go on: %d", 7)
		t.Error("Fatalf returned")
		return nil
	})
	if !errors.Is(err, errFatal) || !strings.Contains(err.Error(), "no way to go on: 7") {
		t.Fatalf("%v", err)
	}
	if err := tryApply(s, section(stBytes).put("k", "v")); !errors.Is(err, errFatal) {
		t.Fatalf("Apply: %v", err)
	}
	done := make(chan struct{})
	go func() { // a goroutine of Pebble's
		defer close(done)
		l.Fatalf("in the background")
	}()
	<-done
	mustDo(t, s.Close())
	other := openState(t, b, "b", testSpace())
	apply(t, other, section(stBytes).put("k", "v"))
}
