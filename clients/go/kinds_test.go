package holdfast_test

import (
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"
	"time"

	holdfast "github.com/holdfast-io/holdfast/clients/go"
	"github.com/holdfast-io/holdfast/clients/go/datagen"
	"github.com/holdfast-io/holdfast/clients/go/internal/faketest"
	"github.com/holdfast-io/holdfast/internal/statevalue"
	holdfastv1 "github.com/holdfast-io/holdfast/proto/holdfast/v1"
)

// probe is a function that a test fills in. Every record has the key 7.
type probe struct {
	open func(ctx holdfast.RuntimeContext) error
	do   func(offset int64) error
}

func (p probe) Open(ctx holdfast.RuntimeContext) error { return p.open(ctx) }
func (p probe) Map(o int64) (string, error)            { return "", p.do(o) }

// startProbe runs a probe over some records, on a host whose clock shows 5 s, and gives
// the stream that got the subtask. Without checkpoints it flushes after its one batch.
func startProbe(t *testing.T, records int64, p probe) (*faketest.Stream, *holdfastv1.JobSpec) {
	t.Helper()
	h := faketest.NewHost(t)
	env := testEnv(h.Address)
	keyed := holdfast.KeyBy(offsets(env, datagen.Options{Records: records}), func(int64) int64 { return 7 })
	holdfast.Map(keyed, "probe", p).PrintTo(&syncBuffer{})
	execute(t, env)
	s := h.AcceptWelcome()
	spec := (<-h.Submitted).GetSpec()
	a := &holdfastv1.Assign{
		FencingToken: 1, Attempt: 1, OperatorUid: "source", Parallelism: 1, MaxParallelism: 128, KeyGroupEnd: 128,
		Splits: []*holdfastv1.Split{{Topic: "datagen", StartOffset: new(int64(0))}},
	}
	for i, d := range spec.GetOperators()[1].GetStates() {
		a.StateIds = append(a.StateIds, &holdfastv1.StateId{OperatorUid: "probe", StateName: d.GetName(), Id: uint32(i + 1)})
	}
	s.Assign(a)
	return s, spec
}

// answer answers a Get with a stored value for each state, at 5 s of the host's clock.
func answer(s *faketest.Stream, g *holdfastv1.Get, stored map[uint32]string) {
	v := faketest.AnswerGet(g, func(sec *holdfastv1.KeySection, _ string) (string, bool) {
		value, ok := stored[sec.GetStateId()]
		return value, ok
	})
	v.TimeMs = 5000
	s.Values(v)
}

func ops(f *holdfastv1.Flush) []string {
	var out []string
	for _, op := range faketest.Ops(f) {
		out = append(out, fmt.Sprintf("%d %s %x", op.State, strings.TrimPrefix(op.Op.String(), "FLUSH_OP_"), op.Value))
	}
	slices.Sort(out)
	return out
}

func expectOps(t *testing.T, f *holdfastv1.Flush, want ...string) {
	t.Helper()
	if got := ops(f); !slices.Equal(got, want) {
		t.Errorf("the flush is %q, want %q", got, want)
	}
}

// timedValue and timedEntry are stored values, last updated at some time.
func timedValue(at int64, v string) string { return string(statevalue.AppendTime(nil, at)) + v }

func timedEntry(at int64, k, v string) string {
	return string(statevalue.AppendTimedEntry(nil, at, []byte(k), []byte(v)))
}

// TestKinds_AddingNeedsNoGet: what is only added, put or removed is flushed as
// operations, one for each key; the first read asks for the value, and has them in it.
func TestKinds_AddingNeedsNoGet(t *testing.T) {
	var list *holdfast.ListState[string]
	var m *holdfast.MapState[string, string]
	var sum, least *holdfast.ReducingState[int64]
	var read []string
	s, spec := startProbe(t, 4, probe{
		open: func(ctx holdfast.RuntimeContext) error {
			var errs [4]error
			list, errs[0] = holdfast.GetListState(ctx, holdfast.ListStateDescriptor[string]{Name: "list", TypeVersion: 3})
			m, errs[1] = holdfast.GetMapState(ctx, holdfast.MapStateDescriptor[string, string]{Name: "map"})
			sum, errs[2] = holdfast.GetReducingState(ctx, holdfast.ReducingStateDescriptor[int64]{Name: "sum", Reduce: holdfast.Sum[int64]()})
			least, errs[3] = holdfast.GetReducingState(ctx, holdfast.ReducingStateDescriptor[int64]{Name: "least", Reduce: holdfast.Min[int64]()})
			return errors.Join(errs[:]...)
		},
		do: func(o int64) error {
			if o == 3 {
				var err error
				read, err = list.Get()
				return err
			}
			return errors.Join(list.Add(fmt.Sprint(o)), m.Put(fmt.Sprint(o), "x"), m.Remove("0"), sum.Add(o), least.Add(-o))
		},
	})
	want := `name:"list" kind:STATE_KIND_LIST type:"string" type_version:3`
	if got := spec.GetOperators()[1].GetStates()[0]; !strings.Contains(strings.Join(strings.Fields(got.String()), " "), want) {
		t.Errorf("the descriptor is %v, want %s", got, want)
	}
	g := s.Get() // of the list alone
	if len(g.GetSections()) != 1 || g.GetSections()[0].GetStateId() != 1 {
		t.Fatalf("the Get is %v", g)
	}
	answer(s, g, map[uint32]string{1: string(statevalue.AppendElement(nil, []byte("old")))})
	expectOps(t, s.Flush(),
		"1 APPEND 010000003001000000310100000032",
		"2 MAP_DELETE 0100000030",
		"2 MAP_PUT 01000000310100000078010000003201000000"+"78",
		"3 ADD 0300000000000000",
		"4 MIN feffffffffffffff",
	)
	if got := strings.Join(read, ","); got != "old,0,1,2" {
		t.Errorf("the list is %q", got)
	}
}

// TestKinds_AGetWaitsForWhatIsInFlight: an answer could be from before a flush that is
// not acknowledged, or from after it.
func TestKinds_AGetWaitsForWhatIsInFlight(t *testing.T) {
	var list *holdfast.ListState[string]
	read := make(chan []string, 1)
	s, _ := startProbe(t, 2000, probe{
		open: func(ctx holdfast.RuntimeContext) (err error) {
			list, err = holdfast.GetListState(ctx, holdfast.ListStateDescriptor[string]{Name: "list"})
			return err
		},
		do: func(o int64) error {
			switch {
			case o == 0:
				return list.Add("a")
			case o < 1999:
				return nil
			}
			l, err := list.Get()
			read <- l
			return err
		},
	})
	expectOps(t, s.Flush(), "1 APPEND 0100000061")
	s.Quiet(50 * time.Millisecond)
	s.Ack(1, 1)
	answer(s, s.Get(), map[uint32]string{1: string(statevalue.AppendElement(nil, []byte("a")))})
	if got := strings.Join(<-read, ","); got != "a" {
		t.Errorf("the list is %q", got)
	}
}

// TestTTL_GoesByTheHostsClock: what is over by it is not seen, and removed; what is not
// over is.
func TestTTL_GoesByTheHostsClock(t *testing.T) {
	var over, lives *holdfast.ValueState[string]
	var shown *holdfast.ValueState[string]
	var m *holdfast.MapState[string, string]
	var list *holdfast.ListState[string]
	var seen []string
	ttl := holdfast.NewStateTTLConfig(time.Second)
	s, spec := startProbe(t, 1, probe{
		open: func(ctx holdfast.RuntimeContext) error {
			var errs [5]error
			over, errs[0] = holdfast.GetState(ctx, holdfast.ValueStateDescriptor[string]{Name: "over", TTL: ttl, Default: "none"})
			lives, errs[1] = holdfast.GetState(ctx, holdfast.ValueStateDescriptor[string]{Name: "lives", TTL: ttl.SetUpdateType(holdfast.OnReadAndWrite)})
			shown, errs[2] = holdfast.GetState(ctx, holdfast.ValueStateDescriptor[string]{Name: "shown", TTL: ttl.SetStateVisibility(holdfast.ReturnExpiredIfNotCleanedUp)})
			m, errs[3] = holdfast.GetMapState(ctx, holdfast.MapStateDescriptor[string, string]{Name: "map", TTL: ttl})
			list, errs[4] = holdfast.GetListState(ctx, holdfast.ListStateDescriptor[string]{Name: "list", TTL: ttl})
			return errors.Join(errs[:]...)
		},
		do: func(int64) error {
			var errs [6]error
			var a, b, c string
			a, errs[0] = over.Value()
			b, errs[1] = lives.Value()
			c, errs[2] = shown.Value()
			entries, err := m.Entries()
			if err != nil {
				return err
			}
			_, found, err := m.Get("gone")
			errs[3] = err
			l, err := list.Get()
			errs[4] = err
			seen = []string{a, b, c, fmt.Sprint(maps.Collect(entries)), fmt.Sprint(found), fmt.Sprint(l)}
			errs[5] = list.Add("new")
			return errors.Join(errs[:]...)
		},
	})
	if got := spec.GetOperators()[1].GetStates()[1].GetTtl(); got.GetTtlMs() != 1000 ||
		got.GetUpdateType() != holdfastv1.TtlUpdateType_TTL_UPDATE_TYPE_ON_READ_AND_WRITE || got.GetVisibility() != holdfastv1.TtlVisibility_TTL_VISIBILITY_NEVER_RETURN_EXPIRED {
		t.Errorf("the TTL is %v", got)
	}
	stored := map[uint32]string{
		1: timedValue(4000, "a"), 2: timedValue(4500, "b"), 3: timedValue(1, "c"),
		4: timedEntry(100, "gone", "1") + timedEntry(4900, "here", "2"),
		5: string(statevalue.AppendTimedElement(statevalue.AppendTimedElement(nil, 1000, []byte("x")), 4900, []byte("y"))),
	}
	answer(s, s.Get(), stored) // of the values
	for i := 0; i < 2; i++ {   // of the map and the list, when they are read
		answer(s, s.Get(), stored)
	}
	expectOps(t, s.Flush(),
		"1 DELETE ", "2 PUT 62", "3 DELETE ", "4 MAP_DELETE 04000000676f6e65", "5 APPEND 030000006e6577")
	if got := strings.Join(seen, " "); got != "none b c map[here:2] false [y]" {
		t.Errorf("the program saw %q", got)
	}
}

// TestKinds_UserFunctionsRunHere: the node gets values.
func TestKinds_UserFunctionsRunHere(t *testing.T) {
	var longest *holdfast.ReducingState[string]
	var mean *holdfast.AggregatingState[int64, holdfast.Mean, float64]
	var result float64
	s, _ := startProbe(t, 3, probe{
		open: func(ctx holdfast.RuntimeContext) error {
			var errs [2]error
			longest, errs[0] = holdfast.GetReducingState(ctx, holdfast.ReducingStateDescriptor[string]{
				Name: "longest", Reduce: holdfast.ReduceFunc[string](func(a, b string) (string, error) {
					if len(b) > len(a) {
						return b, nil
					}
					return a, nil
				}),
			})
			mean, errs[1] = holdfast.GetAggregatingState(ctx, holdfast.AggregatingStateDescriptor[int64, holdfast.Mean, float64]{Name: "mean", Aggregate: holdfast.Average[int64]()})
			return errors.Join(errs[:]...)
		},
		do: func(o int64) (err error) {
			if err := errors.Join(longest.Add(strings.Repeat("x", int(o))), mean.Add(o)); err != nil {
				return err
			}
			result, _, err = mean.Get()
			return err
		},
	})
	answer(s, s.Get(), map[uint32]string{1: "old", 2: `{"sum":9,"count":1}`})
	expectOps(t, s.Flush(), fmt.Sprintf("1 PUT %x", "old"), fmt.Sprintf("2 PUT %x", `{"sum":12,"count":4}`))
	if result != 3 {
		t.Errorf("the mean is %v", result)
	}
}

// TestKinds_AValueAboveTheLimitIsRefused before it is flushed, and names its state.
func TestKinds_AValueAboveTheLimitIsRefused(t *testing.T) {
	var list *holdfast.ListState[string]
	s, _ := startProbe(t, 3, probe{
		open: func(ctx holdfast.RuntimeContext) (err error) {
			list, err = holdfast.GetListState(ctx, holdfast.ListStateDescriptor[string]{Name: "list"})
			return err
		},
		do: func(int64) error { return list.Add(strings.Repeat("x", 60<<10)) },
	})
	f := s.Failed()
	if msg := f.GetError().GetMessage(); !strings.Contains(msg, `state "list": add: a value of`) || !strings.Contains(msg, "above the limit of 131072 bytes") {
		t.Errorf("it failed with %q", msg)
	}
}

func TestKinds_WhatCannotBeDeclared(t *testing.T) {
	for name, c := range map[string]struct {
		open func(ctx holdfast.RuntimeContext) error
		want string
	}{
		"short TTL": {func(ctx holdfast.RuntimeContext) error {
			_, err := holdfast.GetListState(ctx, holdfast.ListStateDescriptor[string]{Name: "s", TTL: holdfast.NewStateTTLConfig(time.Microsecond)})
			return err
		}, `state "s": a TTL must be at least a millisecond`},
		"no function": {func(ctx holdfast.RuntimeContext) error {
			_, err := holdfast.GetReducingState(ctx, holdfast.ReducingStateDescriptor[string]{Name: "s"})
			return err
		}, `state "s": the state needs a function`},
		"a type without an encoding": {func(ctx holdfast.RuntimeContext) error {
			_, err := holdfast.GetMapState(ctx, holdfast.MapStateDescriptor[string, chan int]{Name: "s"})
			return err
		}, `state "s": values of type chan int cannot be kept as state`},
	} {
		h := faketest.NewHost(t)
		env := testEnv(h.Address)
		keyed := holdfast.KeyBy(offsets(env, datagen.Options{}), func(int64) int64 { return 7 })
		holdfast.Map(keyed, "probe", probe{open: c.open}).PrintTo(&syncBuffer{})
		if err := result(t, execute(t, env)); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: %v, want %q", name, err, c.want)
		}
	}
}
