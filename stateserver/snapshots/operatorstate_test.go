package snapshots

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"google.golang.org/protobuf/proto"

	"github.com/holdfast-io/holdfast/coordinator"
	"github.com/holdfast-io/holdfast/internal/statevalue"
	holdfastv1 "github.com/holdfast-io/holdfast/proto/holdfast/v1"
	"github.com/holdfast-io/holdfast/stateserver/backend"
	"github.com/holdfast-io/holdfast/stateserver/storage"
	"github.com/holdfast-io/holdfast/stateserver/storage/metadata"
)

var (
	listState = &holdfastv1.OperatorStateDescriptor{Name: "list", Mode: holdfastv1.OperatorStateMode_OPERATOR_STATE_MODE_SPLIT_DISTRIBUTE, Type: "string"}
	mapState  = &holdfastv1.OperatorStateDescriptor{Name: "map", Mode: holdfastv1.OperatorStateMode_OPERATOR_STATE_MODE_BROADCAST, Type: "string", MapKeyType: "string"}
)

// fillOperatorState gives each subtask a list and a map.
func (w *world) fillOperatorState(r *rand.Rand) {
	w.operator = map[uint64]*holdfastv1.OperatorStates{}
	for i, st := range w.snap.Vertices[0].Subtasks {
		var list, rules []byte
		for n := range r.IntN(40) {
			list = statevalue.AppendElement(list, fmt.Appendf(nil, "%d/%d", i, n))
			rules = statevalue.AppendEntry(rules, fmt.Appendf(nil, "%03d", n), fmt.Append(nil, n))
		}
		w.operator[st.ID] = &holdfastv1.OperatorStates{States: []*holdfastv1.OperatorStateContent{
			{OperatorUid: "source", State: listState, Content: list}, {OperatorUid: "c", State: mapState, Content: rules},
		}}
	}
}

func (w *world) packed(t *testing.T, subtask uint64) []byte {
	t.Helper()
	b, err := proto.Marshal(w.operator[subtask])
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// putOperatorState adds the operator state of a subtask to its ack: of every other one
// as a file.
func (w *world) putOperatorState(t *testing.T, s storage.Storage, i int) {
	t.Helper()
	a, packed := w.snap.Checkpoint.Acks[i], w.packed(t, w.snap.Vertices[0].Subtasks[i].ID)
	h := coordinator.InlineOperatorState(packed)
	if i%2 == 1 {
		f, err := storage.Put(context.Background(), s, fmt.Sprintf("chk-7/50-7-%d-operator-state", 100+i), storage.RetryPolicy{}, func(w io.Writer) error {
			_, err := w.Write(packed)
			return err
		})
		if err != nil {
			t.Fatal(err)
		}
		h.Inline, h.File, h.Sha256 = nil, f.Path, f.SHA256[:]
	}
	a.Handles = append(a.Handles, h)
}

// readOperatorState compares what each operator has, and verifies the files.
func (w *world) readOperatorState(t *testing.T, bs Backends, dir string) {
	t.Helper()
	r, err := Open(context.Background(), w.reg, bs, "file://"+w.root+"/"+dir)
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	for number, uid := range []string{"source", "c"} {
		all, err := r.OperatorStates(context.Background(), uid)
		if err != nil || len(all) != len(w.snap.Vertices[0].Subtasks) {
			t.Fatalf("%d subtasks of %s: %v", len(all), uid, err)
		}
		for i, st := range w.snap.Vertices[0].Subtasks {
			want := w.operator[st.ID].States[number]
			found := false
			for _, s := range all[i].GetStates() {
				found = found || proto.Equal(s, want)
			}
			if !found {
				t.Fatalf("subtask %d of %s has %v, want %v", i, uid, all[i], want)
			}
			alone, err := r.OperatorStatesOf(context.Background(), uid, uint32(i))
			for j := range alone {
				if j == i && !proto.Equal(alone[j], all[i]) || j != i && alone[j] != nil {
					t.Fatalf("subtask %d of %s alone has %v", i, uid, alone)
				}
			}
			if err != nil || len(alone) != len(all) {
				t.Fatalf("subtask %d of %s alone: %v, %v", i, uid, alone, err)
			}
		}
	}
	if all, err := r.OperatorStates(context.Background(), "a b"); err != nil || len(all) == 0 || all[0] != nil {
		t.Fatalf("an operator without operator state has %v, %v", all, err)
	}
	report, err := r.Verify(context.Background())
	if err != nil || len(report.Problems) > 0 {
		t.Fatalf("verified: %v, %v", report, err)
	}
}

// What is inline of a chain stands in its manifest once, with the operator that has it.
func TestNative_OperatorStateOnce(t *testing.T) {
	w := newWorld(t, rand.New(rand.NewPCG(11, 12)), "filesystem", 2)
	w.snap.Checkpoint.Acks[0].Handles = []*holdfastv1.StateHandle{coordinator.InlineOperatorState(w.packed(t, 100))}
	for _, uid := range []string{"source", "c"} {
		packed := nativeOperatorState(w.snap.Checkpoint.Acks[0].Handles[0], uid).GetInline()
		all, err := coordinator.UnpackOperatorStates(packed)
		if err != nil || len(all.States) != 1 || all.States[0].OperatorUid != uid {
			t.Fatalf("%s has %v, %v", uid, all, err)
		}
	}
	if c := nativeOperatorState(w.snap.Checkpoint.Acks[0].Handles[0], "a b"); c != nil {
		t.Fatalf("an operator without any has %v", c)
	}
}

// A flipped byte of an operator state is found by who verifies and by who restores.
func TestOperatorState_DamagedFile(t *testing.T) {
	w := newWorld(t, rand.New(rand.NewPCG(5, 6)), "memory", 2)
	w.operator[100].States[0].Content = statevalue.AppendElement(nil, []byte("something to be damaged"))
	w.writeCanonical(t, "sp", w.memory(t), 0)
	name := ""
	files, err := filepath.Glob(filepath.Join(w.root, "sp", "*-source.operator-state"))
	if err != nil || len(files) != 2 {
		t.Fatalf("files: %v, %v", files, err)
	}
	for _, f := range files {
		b, err := os.ReadFile(f)
		if err != nil {
			t.Fatal(err)
		}
		if i := bytes.Index(b, []byte("damaged")); i >= 0 {
			name = filepath.Base(f)
			b[i] ^= 1
			if err := os.WriteFile(f, b, 0o600); err != nil {
				t.Fatal(err)
			}
		}
	}
	r, err := Open(context.Background(), w.reg, nil, "file://"+w.root+"/sp")
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	report, err := r.Verify(context.Background())
	if err != nil || len(report.Problems) != 1 || report.Problems[0].Fault != metadata.Flipped || report.Problems[0].Path != name || report.Problems[0].OperatorUID != "source" {
		t.Fatalf("verified: %v, %v", report, err)
	}
	if _, err := r.OperatorStates(context.Background(), "source"); !errors.Is(err, storage.ErrCorrupt) || !strings.Contains(err.Error(), name) {
		t.Fatalf("read: %v", err)
	}
	if err := os.Remove(filepath.Join(w.root, "sp", name)); err != nil {
		t.Fatal(err)
	}
	if err := r.CheckFiles(context.Background()); err == nil || !strings.Contains(err.Error(), name) {
		t.Fatalf("checked: %v", err)
	}
}

// What is no operator state is damaged, although its hash is right.
func TestOperatorState_NotReadable(t *testing.T) {
	w := newWorld(t, rand.New(rand.NewPCG(7, 8)), "memory", 1)
	w.operator[100].States[0].Content = []byte{9}
	w.writeCanonical(t, "sp", w.memory(t), 1<<20)
	r, err := Open(context.Background(), w.reg, nil, "file://"+w.root+"/sp")
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	if _, err := r.OperatorStates(context.Background(), "source"); !errors.Is(err, backend.ErrDamaged) {
		t.Fatalf("read: %v", err)
	}
}

// A size that no attempt could begin with is refused where the job is submitted, and one
// that no subtask can have where it is read.
func TestOperatorState_TooLarge(t *testing.T) {
	w := newWorld(t, rand.New(rand.NewPCG(9, 10)), "memory", 2)
	w.writeCanonical(t, "sp", w.memory(t), 0)
	r, err := Open(context.Background(), w.reg, nil, "file://"+w.root+"/sp")
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	old := r.Operator("source")
	old.Subtasks[0].OperatorState.GetFile().Size = coordinator.MaxDealtOperatorState + 1
	now := proto.CloneOf(old.Operator)
	now.OperatorStates = []*holdfastv1.OperatorStateDescriptor{listState}
	if e := checkOperatorStates(old, now, true); e != nil {
		t.Fatalf("at the same parallelism: %v", e)
	}
	now.Parallelism++
	if e := checkOperatorStates(old, now, true); e.GetReason() != holdfastv1.ErrorReason_ERROR_REASON_RESTORE_FAILED ||
		!strings.Contains(e.GetMessage(), "restore it at the parallelism 2 of the snapshot") {
		t.Fatalf("at another one: %v", e)
	}
	if _, err := r.OperatorStates(context.Background(), "source"); !errors.Is(err, backend.ErrDamaged) || !strings.Contains(err.Error(), "which no operator state of a subtask can have") {
		t.Fatalf("read: %v", err)
	}
}
