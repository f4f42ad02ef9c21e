package snapshots

import (
	"bytes"
	"cmp"
	"context"
	"encoding/binary"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"testing"

	"github.com/holdfast-io/holdfast/coordinator"
	"github.com/holdfast-io/holdfast/internal/config"
	holdfastv1 "github.com/holdfast-io/holdfast/proto/holdfast/v1"
	"github.com/holdfast-io/holdfast/raftstore"
	"github.com/holdfast-io/holdfast/raftstore/keyed"
	"github.com/holdfast-io/holdfast/stateserver/backend"
	"github.com/holdfast-io/holdfast/stateserver/backend/filesystem"
	"github.com/holdfast-io/holdfast/stateserver/backend/rocksdb"
	"github.com/holdfast-io/holdfast/stateserver/storage"
	"github.com/holdfast-io/holdfast/stateserver/storage/schemes"
)

// entry is a backend.Entry that stays valid, with the name of its state.
type entry struct {
	state      string
	group      uint32
	key, value string
}

func compareEntries(a, b entry) int {
	return cmp.Or(cmp.Compare(a.state, b.state), cmp.Compare(a.group, b.group), cmp.Compare(a.key, b.key))
}

// world is a job with a chain of three operators, co-partitioned, at one checkpoint.
type world struct {
	root string
	reg  *storage.Registry
	snap *coordinator.Snapshot
	all  []entry // sorted
	// operator is the operator state by subtask.
	operator map[uint64]*holdfastv1.OperatorStates
}

const (
	worldJob    = "0123456789abcdef0123456789abcdef"
	worldGroups = 10
)

func newWorld(t *testing.T, r *rand.Rand, backendName string, parallelism int) *world {
	t.Helper()
	w := &world{root: t.TempDir()}
	var err error
	if w.reg, err = schemes.New(schemes.Config{AllowedRoots: []string{"file://" + w.root}, S3: config.S3{}, NoFsync: true}); err != nil {
		t.Fatal(err)
	}
	state := func(name, typ string) *holdfastv1.StateDescriptor {
		return &holdfastv1.StateDescriptor{Name: name, Kind: holdfastv1.StateKind_STATE_KIND_VALUE, Type: typ}
	}
	in := func(uid string, p holdfastv1.Partitioning) []*holdfastv1.OperatorInput {
		return []*holdfastv1.OperatorInput{{OperatorUid: uid, Partitioning: p}}
	}
	spec := &holdfastv1.JobSpec{
		Name: "words", StateBackend: &holdfastv1.StateBackend{Name: backendName}, Checkpoint: &holdfastv1.CheckpointConfig{IntervalMs: 1000},
		Operators: []*holdfastv1.Operator{
			{Uid: "source", Parallelism: uint32(parallelism), MaxParallelism: 128, Source: &holdfastv1.SourceSpec{Connector: "kafka"},
				OperatorStates: []*holdfastv1.OperatorStateDescriptor{listState}},
			{Uid: "a b", Parallelism: uint32(parallelism), MaxParallelism: 128, Inputs: in("source", holdfastv1.Partitioning_PARTITIONING_CO_PARTITIONED),
				States: []*holdfastv1.StateDescriptor{state("one", "int64"), state("two", "string")}},
			{Uid: "c", Parallelism: uint32(parallelism), MaxParallelism: 128, Inputs: in("a b", holdfastv1.Partitioning_PARTITIONING_CO_PARTITIONED),
				States: []*holdfastv1.StateDescriptor{state("three", "bytes")}, OperatorStates: []*holdfastv1.OperatorStateDescriptor{mapState}},
		},
	}
	v := coordinator.SnapshotVertex{
		OperatorUID: "source", Chain: []string{"source", "a b", "c"}, Parallelism: uint32(parallelism), KeyGroups: worldGroups, CoPartitioned: true,
		StateIDs: []*holdfastv1.StateId{{OperatorUid: "a b", StateName: "one", Id: 1}, {OperatorUid: "a b", StateName: "two", Id: 2}, {OperatorUid: "c", StateName: "three", Id: 3}},
	}
	chk := &holdfastv1.Checkpoint{Id: 7, TriggeredMs: 1234}
	for i := range parallelism {
		start, end := uint32((i*worldGroups+parallelism-1)/parallelism), uint32(((i+1)*worldGroups+parallelism-1)/parallelism)
		sp := coordinator.Space{KeyGroupStart: start, KeyGroupEnd: end, KeyGroups: worldGroups, ByPartition: true}
		for n, d := range []*holdfastv1.StateDescriptor{spec.Operators[1].States[0], spec.Operators[1].States[1], spec.Operators[2].States[0]} {
			sp.States = append(sp.States, coordinator.SpaceState{ID: uint32(n + 1), Descriptor: d})
		}
		v.Subtasks, v.Spaces = append(v.Subtasks, coordinator.SubtaskRange{ID: uint64(100 + i), Start: start, End: end}), append(v.Spaces, sp)
		chk.Acks = append(chk.Acks, &holdfastv1.SubtaskAck{SubtaskId: uint64(100 + i), OperatorUid: "source", SubtaskIndex: uint32(i), FencingToken: 50,
			Positions: []*holdfastv1.Position{{Topic: "in", Partition: uint32(parallelism - i), NextOffset: int64(i)}}})
	}
	w.snap = &coordinator.Snapshot{JobID: worldJob, JobName: "words", Spec: spec, Checkpoint: chk, Vertices: []coordinator.SnapshotVertex{v}}
	w.fill(r)
	w.fillOperatorState(r)
	return w
}

// names of the states, by their numbers.
var names = map[uint32]string{1: "one", 2: "two", 3: "three"}

func (w *world) fill(r *rand.Rand) {
	seen := map[entry]bool{}
	for range r.IntN(3000) {
		n := uint32(r.IntN(3) + 1)
		e := entry{state: names[n], group: uint32(r.IntN(worldGroups)), key: fmt.Sprint(r.IntN(1000))}
		if seen[e] || e.state == "three" && e.group == 4 {
			continue
		}
		seen[e] = true
		e.value = string(binary.LittleEndian.AppendUint64(nil, r.Uint64()))
		if n > 1 {
			e.value = fmt.Sprint(e.value, e.key)
		}
		w.all = append(w.all, e)
	}
	slices.SortFunc(w.all, compareEntries)
}

// sections are the entries of one subtask as a flush.
func (w *world) sections(sp coordinator.Space) []keyed.Section {
	var out []keyed.Section
	for _, e := range w.all {
		if e.group < sp.KeyGroupStart || e.group >= sp.KeyGroupEnd {
			continue
		}
		var id uint32
		for n, name := range names {
			if name == e.state {
				id = n
			}
		}
		out = append(out, keyed.Section{StateID: id, KeyGroup: int64(e.group), Ops: []byte{byte(holdfastv1.FlushOp_FLUSH_OP_PUT)},
			KeyLengths: []uint32{uint32(len(e.key))}, Keys: []byte(e.key), ValueLengths: []uint32{uint32(len(e.value))}, Values: []byte(e.value)})
	}
	return out
}

// memory is the source of a job on the memory backend.
func (w *world) memory(t *testing.T) Source {
	s := keyed.New()
	v := w.snap.Vertices[0]
	for i, st := range v.Subtasks {
		if err := s.Create(st.ID, raftstore.SpaceConfig(v.Spaces[i])); err != nil {
			t.Fatal(err)
		}
		if err := s.Apply(st.ID, w.sections(v.Spaces[i]), 0); err != nil {
			t.Fatal(err)
		}
		if err := s.Freeze(st.ID, 7); err != nil {
			t.Fatal(err)
		}
	}
	return memorySource{s, w}
}

// memorySource implements Source.
type memorySource struct {
	s *keyed.Store
	w *world
}

func (m memorySource) Entries(_ context.Context, st coordinator.SubtaskRange, space coordinator.Space) (backend.Entries, error) {
	f, err := m.s.Frozen(st.ID, 7)
	if err != nil {
		return nil, err
	}
	return Frozen(f, space), nil
}

func (m memorySource) OperatorStates(_ context.Context, st coordinator.SubtaskRange) (*holdfastv1.OperatorStates, error) {
	return m.w.operator[st.ID], nil
}

// backends are those of a test.
type backends map[string]backend.Backend

func (b backends) Get(name string) (backend.Backend, error) {
	if b[name] == nil {
		return nil, fmt.Errorf("unknown state backend %q", name)
	}
	return b[name], nil
}

func newBackends(t *testing.T) backends {
	out := backends{}
	for name, f := range map[string]backend.Factory{"filesystem": filesystem.New, "rocksdb": rocksdb.New} {
		b, err := f(backend.Env{Dir: t.TempDir(), Option: func(string) string { return "" }, Logger: discard})
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = b.Close() })
		out[name] = b
	}
	return out
}

// writeNative lets a backend write the checkpoint into the directory of its job.
func (w *world) writeNative(t *testing.T, b backend.Backend) {
	t.Helper()
	ctx := context.Background()
	dir, err := w.reg.Open(ctx, "file://"+w.root+"/ckpt")
	if err != nil {
		t.Fatal(err)
	}
	s := storage.Sub(dir, worldJob)
	v := w.snap.Vertices[0]
	for i, sp := range v.Spaces {
		st, err := b.Open(ctx, backend.Spec{Name: fmt.Sprint("w-", i), Space: raftstore.SpaceConfig(sp)})
		if err != nil {
			t.Fatal(err)
		}
		if err := st.Apply(w.sections(sp), 0); err != nil {
			t.Fatal(err)
		}
		cut, err := st.Cut(7)
		if err != nil {
			t.Fatal(err)
		}
		f := testFiles{s, fmt.Sprintf("50-7-%d-", 100+i)}
		if w.snap.Checkpoint.Acks[i].Handles, err = cut.Write(ctx, f, nil, true); err != nil {
			t.Fatal(err)
		}
		w.putOperatorState(t, s, i)
		cut.Release()
		if err := st.Close(); err != nil {
			t.Fatal(err)
		}
	}
	to := Target{Files: s, Dir: "chk-7", Kind: holdfastv1.SnapshotKind_SNAPSHOT_KIND_CHECKPOINT}
	if err := WriteManifest(ctx, to, Native(w.snap)); err != nil {
		t.Fatal(err)
	}
}

// writeCanonical writes the checkpoint for the user.
func (w *world) writeCanonical(t *testing.T, dir string, src Source, inline int64) {
	t.Helper()
	ctx := context.Background()
	s, err := w.reg.Open(ctx, "file://"+w.root+"/"+dir)
	if err != nil {
		t.Fatal(err)
	}
	to := Target{Files: s, Kind: holdfastv1.SnapshotKind_SNAPSHOT_KIND_SAVEPOINT, Inline: inline}
	if err := WriteCanonical(ctx, to, w.snap, src); err != nil {
		t.Fatal(err)
	}
}

// read reads a snapshot as the subtasks of a job of another parallelism do, whose
// states have other numbers.
func (w *world) read(t *testing.T, bs Backends, dir string, numbers map[string]uint32, parallelism int) {
	t.Helper()
	ctx := context.Background()
	r, err := Open(ctx, w.reg, bs, "file://"+w.root+"/"+dir)
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	uids := map[string]string{"one": "a b", "two": "a b", "three": "c", "new": "c"}
	byNumber := map[uint32]string{}
	var wanted []Wanted
	for name, n := range numbers {
		wanted = append(wanted, Wanted{OperatorUID: uids[name], StateName: name, Number: n})
		byNumber[n] = name
	}
	slices.SortFunc(wanted, func(a, b Wanted) int { return cmp.Compare(a.Number, b.Number) })
	var got []entry
	for i := range parallelism {
		start, end := uint32((i*worldGroups+parallelism-1)/parallelism), uint32(((i+1)*worldGroups+parallelism-1)/parallelism)
		es := r.Entries(ctx, wanted, start, end)
		var last backend.Entry
		for es.Next() {
			e := es.Entry()
			if e.KeyGroup < start || e.KeyGroup >= end {
				t.Fatalf("key group %d of [%d, %d)", e.KeyGroup, start, end)
			}
			if last.StateID != 0 && cmp.Or(cmp.Compare(last.StateID, e.StateID), cmp.Compare(last.KeyGroup, e.KeyGroup), bytes.Compare(last.Key, e.Key)) >= 0 {
				t.Fatalf("entry %v comes behind %v", e, last)
			}
			last = backend.Entry{StateID: e.StateID, KeyGroup: e.KeyGroup, Key: slices.Clone(e.Key)}
			got = append(got, entry{byNumber[e.StateID], e.KeyGroup, string(e.Key), string(e.Value)})
		}
		if err := es.Err(); err != nil {
			t.Fatal(err)
		}
		if err := es.Close(); err != nil {
			t.Fatal(err)
		}
	}
	var want []entry
	for _, e := range w.all {
		if numbers[e.state] != 0 {
			want = append(want, e)
		}
	}
	slices.SortFunc(got, compareEntries)
	if !slices.Equal(got, want) {
		t.Fatalf("%d entries are read, and %d were written", len(got), len(want))
	}
}

// What memory has is written twice with the same bytes, and read by jobs of any
// parallelism whose states have other numbers.
func TestCanonical(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 2))
	for i := range 20 {
		w := newWorld(t, r, "memory", 1+r.IntN(12))
		inline := int64(r.IntN(2) * r.IntN(20000))
		w.writeCanonical(t, "one", w.memory(t), inline)
		w.writeCanonical(t, "two", w.memory(t), inline)
		sameFiles(t, filepath.Join(w.root, "one"), filepath.Join(w.root, "two"))
		w.read(t, nil, "one", map[string]uint32{"one": 1, "two": 2, "three": 3}, 1+i%5)
		w.read(t, nil, "one", map[string]uint32{"three": 1, "two": 4, "one": 9, "new": 5}, 4)
		w.read(t, nil, "one", map[string]uint32{"two": 2}, 3)
		w.readOperatorState(t, nil, "one")
	}
}

// Snapshots of a backend's own are read in the same way, and exported.
func TestNative(t *testing.T) {
	bs := newBackends(t)
	r := rand.New(rand.NewPCG(3, 4))
	for i := range 6 {
		for name, b := range bs {
			w := newWorld(t, r, name, 1+r.IntN(5))
			w.writeNative(t, b)
			dir := "ckpt/" + worldJob + "/chk-7"
			w.read(t, bs, dir, map[string]uint32{"one": 1, "two": 2, "three": 3}, 1+i)
			w.read(t, bs, dir, map[string]uint32{"three": 1, "two": 2, "one": 3, "new": 7}, 4)
			w.readOperatorState(t, bs, dir)
		}
	}
}

func sameFiles(t *testing.T, a, b string) {
	t.Helper()
	left, err := os.ReadDir(a)
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range left {
		x, err := os.ReadFile(filepath.Join(a, f.Name()))
		if err != nil {
			t.Fatal(err)
		}
		y, err := os.ReadFile(filepath.Join(b, f.Name()))
		if err != nil || !bytes.Equal(x, y) {
			t.Fatalf("%s is not written twice alike: %v", f.Name(), err)
		}
	}
}
