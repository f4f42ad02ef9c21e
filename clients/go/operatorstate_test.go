package holdfast

import (
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"google.golang.org/protobuf/proto"

	holdfastv1 "github.com/holdfast-io/holdfast/proto/holdfast/v1"
)

// keeping has an operator state of each mode.
type keeping struct {
	list, union *OperatorListState[string]
	rules       *BroadcastState[string, int64]
}

func (k *keeping) Open(ctx RuntimeContext) error {
	var errs [3]error
	k.list, errs[0] = GetOperatorListState(ctx, OperatorListStateDescriptor[string]{Name: "list", TypeVersion: 2})
	k.union, errs[1] = GetUnionListState(ctx, OperatorListStateDescriptor[string]{Name: "union"})
	k.rules, errs[2] = GetBroadcastState(ctx, BroadcastStateDescriptor[string, int64]{Name: "rules"})
	return errors.Join(append(errs[:], k.list.Add("of Execute"), k.rules.Put("of Execute", 1))...)
}

func (k *keeping) Map(v string) (string, error) { return v, nil }

func TestOperatorState_IsInTheSpecification(t *testing.T) {
	env := GetExecutionEnvironment()
	Map(numbers(env, "s"), "m", &keeping{})
	spec, err := env.spec("job")
	if err != nil {
		t.Fatal(err)
	}
	want := []*holdfastv1.OperatorStateDescriptor{
		{Name: "list", Mode: holdfastv1.OperatorStateMode_OPERATOR_STATE_MODE_SPLIT_DISTRIBUTE, Type: "string", TypeVersion: 2},
		{Name: "union", Mode: holdfastv1.OperatorStateMode_OPERATOR_STATE_MODE_UNION, Type: "string"},
		{Name: "rules", Mode: holdfastv1.OperatorStateMode_OPERATOR_STATE_MODE_BROADCAST, Type: "int64", MapKeyType: "string"},
	}
	if got := spec.Operators[1].OperatorStates; !slices.EqualFunc(got, want, func(a, b *holdfastv1.OperatorStateDescriptor) bool { return proto.Equal(a, b) }) {
		t.Fatalf("got %v", got)
	}
}

func TestOperatorState_Declarations(t *testing.T) {
	for name, c := range map[string]struct {
		declare func(op *operatorContext) error
		want    string
	}{
		"no name": {func(op *operatorContext) error {
			_, err := GetOperatorListState(op, OperatorListStateDescriptor[string]{})
			return err
		}, "needs a name"},
		"twice": {func(op *operatorContext) error {
			_, err1 := GetUnionListState(op, OperatorListStateDescriptor[string]{Name: "a"})
			_, err2 := GetBroadcastState(op, BroadcastStateDescriptor[string, string]{Name: "a"})
			return errors.Join(err1, err2)
		}, `operator state "a": declare: the operator has two states of this name`},
		"keyed too": {func(op *operatorContext) error {
			_, err1 := GetOperatorListState(op, OperatorListStateDescriptor[string]{Name: "a"})
			_, err2 := GetState(op, ValueStateDescriptor[string]{Name: "a"})
			return errors.Join(err1, err2)
		}, "the operator has two states of this name"},
		"too late": {func(op *operatorContext) error {
			op.opened = true
			_, err := GetOperatorListState(op, OperatorListStateDescriptor[string]{Name: "a"})
			return err
		}, "only in Open"},
		"no type": {func(op *operatorContext) error {
			_, err := GetOperatorListState(op, OperatorListStateDescriptor[func()]{Name: "a"})
			return err
		}, "cannot be kept as state"},
	} {
		if err := c.declare(&operatorContext{uid: "op", keyed: true}); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// TestOperatorState_AgainstAModel changes a list and a map at random and takes snapshots
// between: they are what the model was, and no later change shows in them.
func TestOperatorState_AgainstAModel(t *testing.T) {
	type snapshot struct {
		states []*holdfastv1.OperatorState
		list   []string
		rules  map[string]int64
	}
	for seed := range uint64(200) {
		r := rand.New(rand.NewPCG(seed, 1))
		op, k := &operatorContext{uid: "op"}, &keeping{}
		if err := op.open(k); err != nil {
			t.Fatal(err)
		}
		list, rules := []string{"of Execute"}, map[string]int64{"of Execute": 1}
		var taken []snapshot
		for i := range 60 {
			text, key := strings.Repeat("x", r.IntN(20))+fmt.Sprint(i), fmt.Sprint("k", r.IntN(6))
			var err error
			switch r.IntN(7) {
			case 0, 1:
				err = k.list.AddAll(text, "")
				list = append(list, text, "")
			case 2:
				err = k.rules.Put(key, int64(i))
				rules[key] = int64(i)
			case 3:
				err = k.rules.Remove(key)
				delete(rules, key)
			case 4:
				if n := r.IntN(4); n < 3 {
					list = slices.Clone(list[:min(n, len(list))])
					err = k.list.Update(list)
				}
			case 5:
				if r.IntN(4) == 0 {
					err = k.rules.Clear()
					clear(rules)
				}
			case 6:
				var states []*holdfastv1.OperatorState
				states, err = op.snapshot(1, k)
				taken = append(taken, snapshot{states, slices.Clone(list), maps.Clone(rules)})
			}
			if err != nil {
				t.Fatal(err)
			}
			if got, err := k.list.Get(); err != nil || !slices.Equal(got, list) {
				t.Fatalf("seed %d, step %d: the list is %v, want %v (%v)", seed, i, got, list, err)
			}
			if got := entriesOf(t, k.rules); !maps.Equal(got, rules) {
				t.Fatalf("seed %d, step %d: the map is %v, want %v", seed, i, got, rules)
			}
		}
		for _, s := range taken {
			o, restored := &operatorContext{uid: "op"}, &keeping{}
			o.restored = func(_, name string) []byte {
				for _, x := range s.states {
					if x.StateName == name {
						return x.Content
					}
				}
				return nil
			}
			if err := errors.Join(o.open(restored), restored.rules.Remove("of Execute")); err != nil {
				t.Fatal(err)
			}
			delete(s.rules, "of Execute") // Open puts it
			got, err := restored.list.Get()
			if err != nil || !slices.Equal(got, append(s.list, "of Execute")) || !maps.Equal(entriesOf(t, restored.rules), s.rules) {
				t.Fatalf("seed %d: a snapshot has %v and %v, want %v and %v (%v)", seed, got, entriesOf(t, restored.rules), s.list, s.rules, err)
			}
		}
	}
}

func entriesOf(t *testing.T, s *BroadcastState[string, int64]) map[string]int64 {
	t.Helper()
	all, err := s.Entries()
	if err != nil {
		t.Fatal(err)
	}
	out := maps.Collect(all)
	for k, want := range out {
		if v, found, err := s.Get(k); !found || v != want || err != nil {
			t.Fatalf("Get of %q is %d, %v, %v", k, v, found, err)
		}
	}
	return out
}

// hooked is told of snapshots.
type hooked struct {
	keeping
	err  error
	told []uint64
}

func (h *hooked) SnapshotState(n uint64) error {
	h.told = append(h.told, n)
	return errors.Join(h.err, h.union.Update([]string{fmt.Sprint(n)}))
}

func TestCheckpointedFunction_IsToldFirst(t *testing.T) {
	op, h := &operatorContext{uid: "op"}, &hooked{}
	if err := op.open(h); err != nil {
		t.Fatal(err)
	}
	states, err := op.snapshot(7, h)
	if err != nil || !slices.Equal(h.told, []uint64{7}) || !strings.Contains(string(states[1].Content), "7") {
		t.Fatalf("told %v, %v, %v", h.told, states, err)
	}
	h.err = errors.New("not now")
	if _, err := op.snapshot(8, h); !errors.Is(err, h.err) || !strings.Contains(err.Error(), "SnapshotState of op") {
		t.Fatal(err)
	}
}
