package metadata_test

import (
	"bytes"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"google.golang.org/protobuf/proto"

	holdfastv1 "github.com/holdfast-io/holdfast/proto/holdfast/v1"
	"github.com/holdfast-io/holdfast/stateserver/storage"
	"github.com/holdfast-io/holdfast/stateserver/storage/file"
	"github.com/holdfast-io/holdfast/stateserver/storage/metadata"
	"github.com/holdfast-io/holdfast/stateserver/storage/storagetest"
)

const (
	checkpoint = holdfastv1.SnapshotKind_SNAPSHOT_KIND_CHECKPOINT
	savepoint  = holdfastv1.SnapshotKind_SNAPSHOT_KIND_SAVEPOINT
)

// place is a directory on disk and the registry that allows it.
type place struct {
	path string
	reg  *storage.Registry
}

func newPlace(t *testing.T) place {
	t.Helper()
	path := t.TempDir()
	roots, err := storage.ParseRoots([]string{"file://" + path})
	if err != nil {
		t.Fatal(err)
	}
	return place{path, storage.NewRegistry(roots, map[string]storage.Scheme{"file": file.Scheme{NoFsync: true}})}
}

func (p place) open(t *testing.T, dir string) storage.Storage {
	t.Helper()
	s, err := p.reg.Open(t.Context(), "file://"+p.path+"/"+dir)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { s.Close() })
	return s
}

func fileOf(name string, h storage.FileHandle, shared bool) *holdfastv1.SnapshotFile {
	return &holdfastv1.SnapshotFile{Name: name, Handle: storage.Handle{File: &h}.Proto(), Shared: shared}
}

// manifest is one of two subtasks, with these files of the first.
func manifest(kind holdfastv1.SnapshotKind, files ...*holdfastv1.SnapshotFile) *holdfastv1.CheckpointMetadata {
	return &holdfastv1.CheckpointMetadata{
		HoldfastVersion: "0.1.0", JobId: strings.Repeat("ab", 16), JobName: "count", Lineage: strings.Repeat("cd", 16),
		CheckpointId: 7, TimestampMs: 1_700_000_000_000, Kind: kind,
		Operators: []*holdfastv1.OperatorSnapshot{{
			Operator: &holdfastv1.Operator{
				Uid: "source", Parallelism: 2, MaxParallelism: 128,
				States: []*holdfastv1.StateDescriptor{{Name: "count", Kind: holdfastv1.StateKind_STATE_KIND_VALUE, Type: "int64"}},
			},
			Positions: []*holdfastv1.Position{{Topic: "t", Partition: 1, NextOffset: 99, LeaderEpoch: -1}},
			Subtasks: []*holdfastv1.SubtaskSnapshot{
				{Index: 0, KeyGroupEnd: 64, FencingToken: 12, Snapshots: []*holdfastv1.StateSnapshot{{Format: "pebble", Files: files}}},
				{Index: 1, KeyGroupStart: 64, KeyGroupEnd: 128, FencingToken: 13, Snapshots: []*holdfastv1.StateSnapshot{{
					Format: "canonical", Files: []*holdfastv1.SnapshotFile{{Handle: storage.Handle{Inline: []byte("small")}.Proto()}},
				}}},
			},
		}},
	}
}

func TestManifest_WrittenAndRead(t *testing.T) {
	p := newPlace(t)
	job := p.open(t, "job")
	m := manifest(checkpoint, fileOf("1.sst", storagetest.Write(t, job, "shared/a", []byte("a")), true),
		fileOf("MANIFEST", storagetest.Write(t, job, "chk-7/b", []byte("bb")), false))
	if _, err := metadata.Write(t.Context(), job, "chk-7", m); err != nil {
		t.Fatal(err)
	}
	got, err := metadata.Read(t.Context(), job, "chk-7")
	if err != nil || !proto.Equal(got, m) {
		t.Fatalf("read %v, %v", got, err)
	}
	for _, url := range []string{"/job/chk-7", "/job/chk-7/", "/job/chk-7/_metadata"} {
		s, err := metadata.Load(t.Context(), p.reg, "file://"+p.path+url)
		if err != nil {
			t.Fatal(err)
		}
		if s.Dir != "chk-7" || !proto.Equal(s.Metadata, m) {
			t.Errorf("%s: directory %q", url, s.Dir)
		}
		for _, f := range metadata.Files(s.Metadata) {
			if b, err := storage.ReadAll(t.Context(), s.Files, storage.Handle{File: &f.Handle}); err != nil || int64(len(b)) != f.Handle.Size {
				t.Errorf("%s: %v", f.Handle.Path, err)
			}
		}
		s.Close()
	}
}

// A savepoint is read and verified wherever it was moved.
func TestManifest_SavepointMoves(t *testing.T) {
	p := newPlace(t)
	s := p.open(t, "savepoints/savepoint-ababab-1")
	m := manifest(savepoint, fileOf("", storagetest.Write(t, s, "0-12-x", []byte("a")), false))
	if _, err := metadata.Write(t.Context(), s, "", m); err != nil {
		t.Fatal(err)
	}
	if err := os.Rename(filepath.Join(p.path, "savepoints", "savepoint-ababab-1"), filepath.Join(p.path, "elsewhere")); err != nil {
		t.Fatal(err)
	}
	moved, err := metadata.Load(t.Context(), p.reg, "file://"+p.path+"/elsewhere")
	if err != nil {
		t.Fatal(err)
	}
	defer moved.Close()
	r, err := metadata.Verify(t.Context(), moved.Files, moved.Dir, moved.Metadata)
	if err != nil || len(r.Problems) > 0 || r.Files != 1 || r.Bytes != 1 {
		t.Errorf("verify: %+v, %v", r, err)
	}
}

func TestManifest_Missing(t *testing.T) {
	p := newPlace(t)
	_, err := metadata.Load(t.Context(), p.reg, "file://"+p.path+"/job/chk-9")
	want := "read file://" + p.path + "/job/chk-9/_metadata: there is no manifest; name the directory of a completed checkpoint (chk-N) or of a savepoint; one without a manifest was never completed, or is deleted"
	if !errors.Is(err, storage.ErrNotFound) || err.Error() != want {
		t.Errorf("error %v\nwant  %s", err, want)
	}
}

func TestDecode_Table(t *testing.T) {
	good, err := metadata.Encode(manifest(checkpoint))
	if err != nil {
		t.Fatal(err)
	}
	change := func(f func(b []byte) []byte) []byte { return f(bytes.Clone(good)) }
	for _, c := range []struct {
		name string
		b    []byte
		kind error
		text string
	}{
		{"empty", nil, storage.ErrCorrupt, "corrupt: it is truncated: it has 0 bytes, and the shortest manifest has 52"},
		{"only the magic", good[:8], storage.ErrCorrupt, "corrupt: it is truncated: it has 8 bytes, and the shortest manifest has 52"},
		{"cut in the middle", good[:len(good)-40], storage.ErrCorrupt, fmt.Sprintf("corrupt: it is truncated: its payload has %d bytes, and should have %d", len(good)-92, len(good)-52)},
		{"cut by one byte", good[:len(good)-1], storage.ErrCorrupt, "it is truncated"},
		{"one byte more", append(bytes.Clone(good), 0), storage.ErrCorrupt, "it is too long"},
		{"another file", change(func(b []byte) []byte { b[0] = 'X'; return b }), storage.ErrCorrupt, `corrupt: it is no manifest: it does not begin with "HOLDFAST"`},
		{"flipped payload", change(func(b []byte) []byte { b[60] ^= 1; return b }), storage.ErrCorrupt, "corrupt: its checksum is wrong: bytes of it were changed"},
		{"flipped checksum", change(func(b []byte) []byte { b[len(b)-1] ^= 1; return b }), storage.ErrCorrupt, "its checksum is wrong"},
		{"newer", change(func(b []byte) []byte { binary.LittleEndian.PutUint32(b[8:], 2); return b }), metadata.ErrNewer, "newer format: it has format version 2, and this release reads up to 1; use the release that wrote it, or a newer one"},
	} {
		_, err := metadata.Decode(c.b)
		if !errors.Is(err, c.kind) || !strings.Contains(err.Error(), c.text) {
			t.Errorf("%s: %v\nwant %s", c.name, err, c.text)
		}
	}
	for i := range good {
		b := bytes.Clone(good)
		b[i] ^= 0x10
		if _, err := metadata.Decode(b); err == nil {
			t.Errorf("byte %d flipped: not noticed", i)
		}
	}
}

func TestCheck_Table(t *testing.T) {
	h := storage.FileHandle{Path: "shared/a", Size: 1}
	at := func(path string, shared bool) *holdfastv1.SnapshotFile {
		h := h
		h.Path = path
		return fileOf("", h, shared)
	}
	first := func(m *holdfastv1.CheckpointMetadata) *holdfastv1.OperatorSnapshot { return m.GetOperators()[0] }
	for _, c := range []struct {
		name string
		m    *holdfastv1.CheckpointMetadata
		f    func(m *holdfastv1.CheckpointMetadata)
		text string
	}{
		{"whole", manifest(checkpoint, at("shared/a", true), at("chk-7/a", false), at("taskowned/a", false)), nil, ""},
		{"whole savepoint", manifest(savepoint, at("a", false), at("b/c", false)), nil, ""},
		{"no kind", manifest(0), nil, "its kind is 0"},
		{"dots", manifest(checkpoint, at("../x", false)), nil, "begins with a dot"},
		{"absolute", manifest(savepoint, at("/etc/passwd", false)), nil, "empty element"},
		{"another checkpoint's", manifest(checkpoint, at("chk-6/a", false)), nil, "is the checkpoint's own, but in neither chk-7/ nor taskowned/"},
		{"shared outside of shared", manifest(checkpoint, at("chk-7/a", true)), nil, "is shared, but not in shared/"},
		{"private in shared", manifest(checkpoint, at("shared/a", false)), nil, "is the checkpoint's own"},
		{"shared by a savepoint", manifest(savepoint, at("a", true)), nil, "of a savepoint is shared with others"},
		{"itself", manifest(savepoint, at("_metadata", false)), nil, "is named as a file of a state"},
		{"itself in a checkpoint", manifest(checkpoint, at("chk-7/_metadata", false)), nil, "is named as a file of a state"},
		{"no uid", manifest(checkpoint), func(m *holdfastv1.CheckpointMetadata) { first(m).Operator.Uid = "" }, "has no uid"},
		{"uid twice", manifest(checkpoint), func(m *holdfastv1.CheckpointMetadata) { m.Operators = append(m.Operators, first(m)) }, "operator source is there twice"},
		{"max parallelism not resolved", manifest(checkpoint), func(m *holdfastv1.CheckpointMetadata) { first(m).Operator.MaxParallelism = 0 }, "max parallelism is 0"},
		{"parallelism", manifest(checkpoint), func(m *holdfastv1.CheckpointMetadata) { first(m).Operator.Parallelism = 32769 }, "parallelism is 32769"},
		{"key groups twice", manifest(checkpoint), func(m *holdfastv1.CheckpointMetadata) { first(m).Subtasks[1].KeyGroupStart = 63 }, "key group 63 belongs to subtask 1 and to another"},
		{"key groups beyond", manifest(checkpoint), func(m *holdfastv1.CheckpointMetadata) { first(m).Subtasks[1].KeyGroupEnd = 129 }, "which are none of 128"},
		{"subtask twice", manifest(checkpoint), func(m *holdfastv1.CheckpointMetadata) { first(m).Subtasks[1].Index = 0 }, "subtask 0 is there twice"},
		{"no format", manifest(checkpoint), func(m *holdfastv1.CheckpointMetadata) { first(m).Subtasks[1].Snapshots[0].Format = "" }, "has no format"},
		{"empty handle", manifest(checkpoint), func(m *holdfastv1.CheckpointMetadata) {
			first(m).Subtasks[1].Snapshots[0].Files[0].Handle = nil
		}, "neither bytes nor a file"},
	} {
		if c.f != nil {
			c.f(c.m)
		}
		err := metadata.Check(c.m)
		_, encodes := metadata.Encode(c.m)
		if c.text == "" {
			if err != nil || encodes != nil {
				t.Errorf("%s: %v, %v", c.name, err, encodes)
			}
			continue
		}
		if err == nil || !strings.Contains(err.Error(), c.text) || encodes == nil {
			t.Errorf("%s: %v (encode: %v)\nwant %s", c.name, err, encodes, c.text)
		}
	}
}

func TestVerify_NamesWhatIsWrong(t *testing.T) {
	p := newPlace(t)
	job := p.open(t, "job")
	var files []*holdfastv1.SnapshotFile
	for _, name := range []string{"shared/good", "shared/missing", "chk-7/flipped", "chk-7/long", "chk-7/good", "taskowned/truncated"} {
		h := storagetest.Write(t, job, name, storagetest.Contents(1, 1000))
		files = append(files, fileOf("", h, strings.HasPrefix(name, "shared/")))
	}
	m := manifest(checkpoint, files...)
	if _, err := metadata.Write(t.Context(), job, "chk-7", m); err != nil {
		t.Fatal(err)
	}
	verify := func() []string {
		t.Helper()
		r, err := metadata.Verify(t.Context(), job, "chk-7", m)
		if err != nil || r.Files != 6 || r.Bytes != 6000 {
			t.Fatalf("verify: %+v, %v", r, err)
		}
		var lines []string
		for _, p := range r.Problems {
			lines = append(lines, p.String())
		}
		return lines
	}
	storagetest.Write(t, job, "shared/of-another-checkpoint", nil)
	storagetest.Write(t, job, "taskowned/other", nil)
	storagetest.Write(t, job, "chk-70/other", nil)
	if got := verify(); len(got) > 0 {
		t.Fatalf("a whole checkpoint has problems: %q", got)
	}
	if err := job.Delete(t.Context(), "shared/missing"); err != nil {
		t.Fatal(err)
	}
	flipped := storagetest.Contents(1, 1000)
	flipped[500]++
	storagetest.Write(t, job, "chk-7/flipped", flipped)
	storagetest.Write(t, job, "chk-7/long", storagetest.Contents(1, 1001))
	storagetest.Write(t, job, "taskowned/truncated", storagetest.Contents(1, 999))
	storagetest.Write(t, job, "chk-7/foreign", nil)
	want := []string{
		"chk-7/flipped: flipped: its SHA-256 is not that of the manifest (operator source, subtask 0)",
		"chk-7/foreign: foreign: the manifest does not name it",
		"chk-7/long: too long: 1001 bytes, and should have 1000 (operator source, subtask 0)",
		"shared/missing: missing (operator source, subtask 0)",
		"taskowned/truncated: truncated: 999 bytes, and should have 1000 (operator source, subtask 0)",
	}
	if got := verify(); !slices.Equal(got, want) {
		t.Errorf("problems:\n%s\nwant:\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
	}
}

// A storage that does not answer is no damage.
func TestVerify_OutageIsAnError(t *testing.T) {
	p := newPlace(t)
	job := p.open(t, "job")
	m := manifest(checkpoint, fileOf("", storagetest.Write(t, job, "shared/a", nil), true))
	f := storagetest.New(job)
	denied := storagetest.Fault{Op: storagetest.OpOpen, Err: storage.ErrAccessDenied}
	defer f.Inject(denied)()
	r, err := metadata.Verify(t.Context(), f, "chk-7", m)
	if !errors.Is(err, storage.ErrAccessDenied) || len(r.Problems) > 0 {
		t.Errorf("verify: %+v, %v", r, err)
	}
}

// A manifest is not to be seen before it is whole.
func TestManifest_OutageLeavesNone(t *testing.T) {
	p := newPlace(t)
	f := storagetest.New(p.open(t, "job"))
	lift := f.Inject(storagetest.Full())
	_, err := metadata.Write(t.Context(), f, "chk-7", manifest(checkpoint))
	if !errors.Is(err, storage.ErrNoSpace) {
		t.Fatalf("write to a full disk: %v", err)
	}
	if all, err := storage.ListAll(t.Context(), f, ""); err != nil || len(all) > 0 {
		t.Errorf("left %v, %v", all, err)
	}
	lift()
	if _, err := metadata.Write(t.Context(), f, "chk-7", manifest(checkpoint)); err != nil {
		t.Error(err)
	}
}

// framed puts a right frame around any payload.
func framed(payload []byte) []byte {
	b := binary.LittleEndian.AppendUint32([]byte("HOLDFAST"), 1)
	b = append(binary.LittleEndian.AppendUint64(b, uint64(len(payload))), payload...)
	sum := sha256.Sum256(b)
	return append(b, sum[:]...)
}

func FuzzManifest_Decode(f *testing.F) {
	good, err := metadata.Encode(manifest(savepoint, fileOf("1.sst", storage.FileHandle{Path: "a", Size: 3}, false)))
	if err != nil {
		f.Fatal(err)
	}
	f.Add(good[20 : len(good)-32])
	f.Add([]byte{})
	f.Fuzz(func(t *testing.T, payload []byte) {
		// The bytes themselves, and the same with a frame that is right.
		_, _ = metadata.Decode(payload)
		m, err := metadata.Decode(framed(payload))
		if err != nil {
			if !errors.Is(err, storage.ErrCorrupt) {
				t.Fatalf("error of another kind: %v", err)
			}
			return
		}
		b, err := metadata.Encode(m)
		if err != nil {
			t.Fatalf("what was read is not written: %v", err)
		}
		again, err := metadata.Decode(b)
		if err != nil || !proto.Equal(again, m) {
			t.Fatalf("written again: %v", err)
		}
		metadata.Files(m)
	})
}
