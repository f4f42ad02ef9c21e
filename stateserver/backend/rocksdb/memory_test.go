//go:build linux && !cgo && largestate

package rocksdb

import (
	"context"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/holdfast-io/holdfast/raftstore/keyed"
	"github.com/holdfast-io/holdfast/stateserver/backend"
)

// Of the process that TestState_LargerThanMemory starts: its memory has a hard limit,
// memoryMore above what a Go process has from the start, and its state is five times
// larger than the limit.
const (
	memoryMore   = 128 << 20
	memoryTimes  = 5
	memoryValue  = 8 << 10
	memoryDirVar = "ROCKSDB_TEST_MEMORY_DIR"
)

// TestState_LargerThanMemory fills a state that is five times as large as the memory
// of its process, under RLIMIT_DATA, reads it, takes a checkpoint of it and restores
// that. It is built without cgo, as the server is: the memory of C has other limits.
func TestState_LargerThanMemory(t *testing.T) {
	if dir := os.Getenv(memoryDirVar); dir != "" {
		largerThanMemory(t, dir)
		return
	}
	cmd := exec.Command(os.Args[0], "-test.run=^TestState_LargerThanMemory$", "-test.v")
	cmd.Env = append(os.Environ(), memoryDirVar+"="+t.TempDir(), "GOMEMLIMIT=64MiB")
	out, err := cmd.CombinedOutput()
	if err != nil || !strings.Contains(string(out), "state of") {
		t.Fatalf("%v\n%s", err, out)
	}
	t.Log(string(out))
}

func largerThanMemory(t *testing.T, dir string) {
	limit := dataBytes(t) + memoryMore
	state := memoryTimes * limit
	mustDo(t, unix.Setrlimit(unix.RLIMIT_DATA, &unix.Rlimit{Cur: uint64(limit), Max: uint64(limit)}))
	b, err := New(backend.Env{Dir: filepath.Join(dir, "node"), CacheBytes: 16 << 20})
	mustDo(t, err)
	space := testSpace()
	space.MaxValueBytes = memoryValue
	s, err := b.Open(context.Background(), backend.Spec{Name: "large", Space: space})
	mustDo(t, err)
	keys := state / memoryValue
	value := func(i, round int) string {
		r := rand.NewChaCha8([32]byte{byte(i), byte(i >> 8), byte(i >> 16), byte(round)})
		v := make([]byte, memoryValue-16)
		_, _ = r.Read(v) // of a generator: it cannot fail
		return string(v)
	}
	rounds := make([]byte, keys)
	write := func(i int) *sectionOf {
		rounds[i]++
		return section(stBytes).put(fmt.Sprintf("key-%010d", i), value(i, int(rounds[i])))
	}
	for i := range keys {
		apply(t, s, write(i))
	}
	r := rand.New(rand.NewPCG(1, 2))
	for range keys / 10 {
		apply(t, s, write(r.IntN(keys)))
	}
	files := &diskFiles{dir: filepath.Join(dir, "files")}
	mustDo(t, os.Mkdir(files.dir, 0o700))
	snap, err := s.Cut(1)
	mustDo(t, err)
	handles, err := snap.Write(context.Background(), files, nil, true)
	mustDo(t, err)
	snap.Release()
	check := func(what string, s backend.State, step int) {
		for i := 0; i < keys; i += step {
			var v keyed.Values
			key := fmt.Sprintf("key-%010d", i)
			mustDo(t, s.Get(stBytes, keyed.ByHash, []uint32{uint32(len(key))}, []byte(key), &v, 0))
			if string(v.Values) != value(i, int(rounds[i])) {
				t.Fatalf("%s: key %d has another value", what, i)
			}
		}
	}
	check("written", s, 13)
	mustDo(t, s.Close())
	again, err := b.Open(context.Background(), backend.Spec{Name: "again", Space: space})
	mustDo(t, err)
	mustDo(t, again.Restore(context.Background(), files, handles))
	check("restored", again, 17)
	n := 0
	it, err := b.ReadSnapshot(context.Background(), backend.Spec{Name: "read", Space: space}, files, handles)
	mustDo(t, err)
	for it.Next() {
		n++
	}
	mustDo(t, it.Err())
	mustDo(t, it.Close())
	if n != keys {
		t.Fatalf("the snapshot has %d entries of %d", n, keys)
	}
	mustDo(t, again.Close())
	mustDo(t, b.Close())
	t.Logf("a state of %d MiB under a hard limit of %d MiB", state>>20, limit>>20)
}

// dataBytes is what RLIMIT_DATA counts.
func dataBytes(t *testing.T) int {
	b, err := os.ReadFile("/proc/self/status")
	mustDo(t, err)
	for line := range strings.Lines(string(b)) {
		if kb := 0; strings.HasPrefix(line, "VmData:") {
			_, err := fmt.Sscanf(line, "VmData: %d kB", &kb)
			mustDo(t, err)
			return kb << 10
		}
	}
	t.Fatal("no VmData in /proc/self/status")
	return 0
}
