package storage_test

import (
	"encoding/binary"
	"io"
	"testing"

	"github.com/holdfast-io/holdfast/integration/harness"
	holdfastv1 "github.com/holdfast-io/holdfast/proto/holdfast/v1"
	"github.com/holdfast-io/holdfast/stateserver/storage"
	"github.com/holdfast-io/holdfast/stateserver/storage/canonical"
	"github.com/holdfast-io/holdfast/stateserver/storage/hdfs"
	"github.com/holdfast-io/holdfast/stateserver/storage/metadata"
	"github.com/holdfast-io/holdfast/stateserver/storage/storagetest"
)

func TestStorage_S3Checkpoint(t *testing.T) {
	checkpoint(t, s3Schemes(t, harness.RequireEnv(t, harness.EnvS3)[0]), "s3://ckpt/checkpoint")
}

func TestStorage_HDFSCheckpoint(t *testing.T) {
	address := harness.RequireEnv(t, harness.EnvHDFS)[0]
	checkpoint(t, map[string]storage.Scheme{"hdfs": hdfs.Scheme{}}, "hdfs://"+address)
}

const (
	groups   = 128
	perGroup = 2000
)

// checkpoint writes one as a host does, finds it by its URL, reads some key groups
// of it as a rescaled restore does, and has it verified.
func checkpoint(t *testing.T, schemes map[string]storage.Scheme, base string) {
	job := fresh(t, schemes, base)
	defer job.Close()
	operator := &holdfastv1.Operator{Uid: "count", Parallelism: 1, MaxParallelism: groups, States: []*holdfastv1.StateDescriptor{{
		Name: "count", Kind: holdfastv1.StateKind_STATE_KIND_VALUE, Type: "int64",
	}}}
	h, err := storage.PutHandle(t.Context(), job, storage.CheckpointDir(1)+"/"+"7-1-0-state", storage.DefaultInlineThreshold, storage.RetryPolicy{},
		func(w io.Writer) error { return writeState(w, operator) })
	if err != nil {
		t.Fatal(err)
	}
	m := &holdfastv1.CheckpointMetadata{
		JobId: "ab", JobName: "job", CheckpointId: 1, Kind: holdfastv1.SnapshotKind_SNAPSHOT_KIND_CHECKPOINT,
		Operators: []*holdfastv1.OperatorSnapshot{{Operator: operator, Subtasks: []*holdfastv1.SubtaskSnapshot{{
			KeyGroupEnd: groups, FencingToken: 7, Snapshots: []*holdfastv1.StateSnapshot{{
				Format: canonical.FormatName, Files: []*holdfastv1.SnapshotFile{{Handle: h.Proto()}},
			}},
		}}}},
	}
	if _, err := metadata.Write(t.Context(), job, storage.CheckpointDir(1), m); err != nil {
		t.Fatal(err)
	}

	found, err := metadata.Load(t.Context(), storage.NewRegistry(storage.AnyRoot(), schemes), job.URL()+"/chk-1")
	if err != nil {
		t.Fatal(err)
	}
	defer found.Close()
	wantProblems(t, found)
	counted := storagetest.New(found.Files)
	readSome(t, counted, metadata.Files(found.Metadata)[0].Handle)
	// The tail, both ends of the file, and the blocks.
	if n := counted.Calls(storagetest.OpOpen); n > 4 {
		t.Errorf("an eighth of the key groups took %d requests", n)
	}

	// The same name, another file.
	flipped, err := storage.ReadAll(t.Context(), job, h)
	if err != nil {
		t.Fatal(err)
	}
	flipped[len(flipped)/2] ^= 1
	storagetest.Write(t, job, h.File.Path, flipped)
	storagetest.Write(t, job, "chk-1/foreign", nil)
	wantProblems(t, found, "chk-1/foreign: foreign: the manifest does not name it",
		h.File.Path+": flipped: its SHA-256 is not that of the manifest (operator count, subtask 0)")
}

func writeState(w io.Writer, operator *holdfastv1.Operator) error {
	c, err := canonical.NewWriter(w, &holdfastv1.SnapshotHeader{
		OperatorUid: operator.GetUid(), MaxParallelism: groups, KeyGroupEnd: groups, States: []*holdfastv1.SnapshotState{{State: operator.GetStates()[0]}},
	})
	if err != nil {
		return err
	}
	key, value := make([]byte, 8), make([]byte, 8)
	for group := range uint32(groups) {
		for i := range uint64(perGroup) {
			binary.BigEndian.PutUint64(key, i)
			binary.BigEndian.PutUint64(value, uint64(group)*perGroup+i)
			if err := c.Add(0, group, key, value); err != nil {
				return err
			}
		}
	}
	return c.Close()
}

func readSome(t *testing.T, s storage.Storage, h storage.FileHandle) {
	t.Helper()
	f, err := canonical.Open(t.Context(), s, storage.Handle{File: &h})
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	n := uint64(0)
	it := f.Scan(0, 48, 64)
	for it.Next() {
		if got := binary.BigEndian.Uint64(it.Value()); got != 48*perGroup+n {
			t.Fatalf("entry %d has the value %d", n, got)
		}
		n++
	}
	if it.Err() != nil || n != 16*perGroup {
		t.Errorf("%d entries, %v; want %d", n, it.Err(), 16*perGroup)
	}
}

func wantProblems(t *testing.T, s *metadata.Snapshot, want ...string) {
	t.Helper()
	r, err := metadata.Verify(t.Context(), s.Files, s.Dir, s.Metadata)
	if err != nil {
		t.Fatal(err)
	}
	got := map[string]bool{}
	for _, p := range r.Problems {
		got[p.String()] = true
	}
	for _, w := range want {
		if !got[w] {
			t.Errorf("no problem %q in %q", w, r.Problems)
		}
	}
	if len(got) != len(want) {
		t.Errorf("problems %q, want %q", r.Problems, want)
	}
}
