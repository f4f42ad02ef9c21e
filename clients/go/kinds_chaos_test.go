package holdfast_test

import (
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"testing"
	"time"

	holdfast "github.com/holdfast-io/holdfast/clients/go"
	"github.com/holdfast-io/holdfast/clients/go/datagen"
	"github.com/holdfast-io/holdfast/clients/go/internal/faketest"
	"github.com/holdfast-io/holdfast/clients/go/source"
	"github.com/holdfast-io/holdfast/internal/statevalue"
)

// visit is a record: its key belongs to one split, so its order is that of offsets.
type visit struct {
	key    string
	offset int64
}

func visitOf(r holdfast.Record) (visit, error) {
	return visit{key: fmt.Sprintf("%s/%d", r.Key, r.Partition), offset: r.Offset}, nil
}

// kinds uses a state of every kind: some without ever reading them, some with a TTL.
type kinds struct {
	list, ttlList  *holdfast.ListState[int64]
	counts, ttlMap *holdfast.MapState[int64, int64]
	blind          *holdfast.MapState[string, int64]
	sum, largest   *holdfast.ReducingState[int64]
	joined         *holdfast.ReducingState[string]
	mean           *holdfast.AggregatingState[int64, holdfast.Mean, float64]
	visits         *holdfast.AggregatingState[visit, int64, int64]
	last           *holdfast.ValueState[string]
}

func (k *kinds) Open(ctx holdfast.RuntimeContext) (err error) {
	hour := holdfast.NewStateTTLConfig(time.Hour)
	try := func(e error) {
		if err == nil {
			err = e
		}
	}
	var e error
	k.list, e = holdfast.GetListState(ctx, holdfast.ListStateDescriptor[int64]{Name: "list"})
	try(e)
	k.ttlList, e = holdfast.GetListState(ctx, holdfast.ListStateDescriptor[int64]{Name: "ttl-list", TTL: hour})
	try(e)
	k.counts, e = holdfast.GetMapState(ctx, holdfast.MapStateDescriptor[int64, int64]{Name: "counts"})
	try(e)
	k.ttlMap, e = holdfast.GetMapState(ctx, holdfast.MapStateDescriptor[int64, int64]{Name: "ttl-map", TTL: hour.SetUpdateType(holdfast.OnReadAndWrite)})
	try(e)
	k.blind, e = holdfast.GetMapState(ctx, holdfast.MapStateDescriptor[string, int64]{Name: "blind"})
	try(e)
	k.sum, e = holdfast.GetReducingState(ctx, holdfast.ReducingStateDescriptor[int64]{Name: "sum", Reduce: holdfast.Sum[int64]()})
	try(e)
	k.largest, e = holdfast.GetReducingState(ctx, holdfast.ReducingStateDescriptor[int64]{Name: "largest", Reduce: holdfast.Max[int64](), TTL: hour})
	try(e)
	k.joined, e = holdfast.GetReducingState(ctx, holdfast.ReducingStateDescriptor[string]{Name: "joined", Reduce: holdfast.ReduceFunc[string](join)})
	try(e)
	k.mean, e = holdfast.GetAggregatingState(ctx, holdfast.AggregatingStateDescriptor[int64, holdfast.Mean, float64]{Name: "mean", Aggregate: holdfast.Average[int64]()})
	try(e)
	k.visits, e = holdfast.GetAggregatingState(ctx, holdfast.AggregatingStateDescriptor[visit, int64, int64]{Name: "visits", Aggregate: holdfast.Count[visit]()})
	try(e)
	k.last, e = holdfast.GetState(ctx, holdfast.ValueStateDescriptor[string]{Name: "last", TTL: hour, Default: "none"})
	try(e)
	return err
}

func join(a, b string) (string, error) {
	s := a + b
	return s[max(0, len(s)-6):], nil
}

func (k *kinds) Map(v visit) (string, error) {
	o := v.offset
	var errs []error
	try := func(err error) { errs = append(errs, err) }
	try(k.list.Add(o))
	switch {
	case o%97 == 0:
		try(k.list.Clear())
	case o%11 == 0:
		l, err := k.list.Get()
		try(err)
		if len(l) > 8 {
			try(k.list.Update(l[len(l)-3:]))
		}
	}
	try(k.ttlList.AddAll(o, -o))
	for _, m := range []*holdfast.MapState[int64, int64]{k.counts, k.ttlMap} {
		n, _, err := m.Get(o % 7)
		try(err)
		if n == 2 {
			try(m.Remove(o % 7))
		} else {
			try(m.Put(o%7, n+1))
		}
	}
	try(k.blind.Put(fmt.Sprint(o%5), o))
	if o%13 == 0 {
		try(k.blind.Remove(fmt.Sprint(o % 3)))
	}
	if o%101 == 0 {
		try(k.blind.Clear())
	}
	try(k.sum.Add(o))
	try(k.largest.Add(o % 50))
	try(k.joined.Add(fmt.Sprint(o % 10)))
	try(k.mean.Add(o))
	try(k.visits.Add(v))
	_, err := k.last.Value()
	try(err)
	try(k.last.Update(fmt.Sprint(o)))
	for _, err := range errs {
		if err != nil {
			return "", err
		}
	}
	return v.key, nil
}

// kindsOracle is the same on Go's own types.
type kindsOracle struct {
	list, ttlList []int64
	counts        map[int64]int64
	blind         map[string]int64
	sum, largest  int64
	joined, last  string
	mean          holdfast.Mean
	visits        int64
}

func (k *kindsOracle) visit(o int64) {
	k.list = append(k.list, o)
	switch {
	case o%97 == 0:
		k.list = nil
	case o%11 == 0 && len(k.list) > 8:
		k.list = slices.Clone(k.list[len(k.list)-3:])
	}
	k.ttlList = append(k.ttlList, o, -o)
	if k.counts[o%7] == 2 {
		delete(k.counts, o%7)
	} else {
		k.counts[o%7]++
	}
	k.blind[fmt.Sprint(o%5)] = o
	if o%13 == 0 {
		delete(k.blind, fmt.Sprint(o%3))
	}
	if o%101 == 0 {
		clear(k.blind)
	}
	if k.visits == 0 {
		k.largest = o % 50
	}
	k.sum, k.largest, k.visits = k.sum+o, max(k.largest, o%50), k.visits+1
	k.joined, _ = join(k.joined, fmt.Sprint(o%10))
	k.mean = holdfast.Mean{Sum: k.mean.Sum + float64(o), Count: k.mean.Count + 1}
	k.last = fmt.Sprint(o)
}

// states are the texts by the number of the state, in the order of Open.
func (k *kindsOracle) states() []string {
	mean, _ := json.Marshal(k.mean)
	return []string{
		fmt.Sprint(k.list), fmt.Sprint(k.ttlList), fmt.Sprint(k.counts), fmt.Sprint(k.counts), fmt.Sprint(k.blind),
		fmt.Sprint(k.sum), fmt.Sprint(k.largest), k.joined, string(mean), fmt.Sprint(k.visits), k.last,
	}
}

// storedText shows a stored value of one of the states as the oracle does.
func storedText(t *testing.T, state int, stored string) string {
	t.Helper()
	timed := state == 1 || state == 3 || state == 6 || state == 10
	rest := []byte(stored)
	number := func(b []byte) int64 {
		if len(b) != 8 {
			t.Fatalf("%x is no int64", b)
		}
		var n uint64
		for i := range b {
			n |= uint64(b[i]) << (8 * i)
		}
		return int64(n)
	}
	switch state {
	case 0, 1:
		var list []int64
		for len(rest) > 0 {
			e, next, err := statevalue.NextElement(rest, timed)
			if err != nil {
				t.Fatal(err)
			}
			list, rest = append(list, number(e.Value)), next
		}
		return fmt.Sprint(list)
	case 2, 3, 4:
		numbers, texts := map[int64]int64{}, map[string]int64{}
		for len(rest) > 0 {
			e, next, err := statevalue.NextEntry(rest, timed)
			if err != nil {
				t.Fatal(err)
			}
			if rest = next; state == 4 {
				texts[string(e.Key)] = number(e.Value)
			} else {
				numbers[number(e.Key)] = number(e.Value)
			}
		}
		if state == 4 {
			return fmt.Sprint(texts)
		}
		return fmt.Sprint(numbers)
	}
	if timed {
		rest = rest[statevalue.TimeBytes:]
	}
	if state == 7 || state == 8 || state == 10 {
		return string(rest)
	}
	return fmt.Sprint(number(rest))
}

func kindsJob(ctx context.Context, c *faketest.Cluster, out *syncBuffer) error {
	env := holdfast.GetExecutionEnvironment(
		holdfast.WithAddresses(c.Addresses...), holdfast.WithLogger(slog.New(slog.DiscardHandler)))
	env.SetWorkingCopySize(20000)
	env.EnableCheckpointing(time.Second)
	visits := holdfast.FromSource(env, "source", datagen.NewSource(chaosOptions), visitOf)
	byKey := holdfast.KeyBy(visits, func(v visit) string { return v.key })
	holdfast.Map(byKey, "kinds", &kinds{}).PrintTo(out)
	return env.Execute(ctx, "kinds")
}

func compareKinds(t *testing.T, what string, v faketest.Version) {
	t.Helper()
	want := map[string]string{}
	o := chaosOptions
	o.RecordsPerSecond = 0
	for _, p := range v.Positions {
		oracles := map[string]*kindsOracle{}
		r, err := datagen.NewSource(o).Open(t.Context(), source.OpenOptions{Splits: []source.Split{{Partition: p.GetPartition()}}})
		if err != nil {
			t.Fatal(err)
		}
		for read := int64(0); read < p.GetNextOffset(); {
			var b source.Batch
			if err := r.Poll(t.Context(), &b, int(min(p.GetNextOffset()-read, 1000))); err != nil && b.Len() == 0 {
				t.Fatal(err)
			}
			for i := range b.Len() {
				key := fmt.Sprintf("%s/%d", b.Key(i), p.GetPartition())
				if oracles[key] == nil {
					oracles[key] = &kindsOracle{counts: map[int64]int64{}, blind: map[string]int64{}}
				}
				oracles[key].visit(b.Offset(i))
			}
			read += int64(b.Len())
		}
		for key, k := range oracles {
			for i, text := range k.states() {
				if text != "[]" && text != "map[]" {
					want[fmt.Sprintf("%d/%s", i+1, key)] = text
				}
			}
		}
	}
	got := map[string]string{}
	for k, stored := range v.State {
		var id int
		if _, err := fmt.Sscanf(k, "%d/", &id); err != nil {
			t.Fatal(err)
		}
		got[k] = storedText(t, id-1, stored)
	}
	if len(got) != len(want) {
		t.Errorf("%s: %d cells of state, want %d", what, len(got), len(want))
	}
	for k, text := range want {
		if got[k] != text {
			t.Errorf("%s: %s is %s, want %s", what, k, got[k], text)
		}
	}
}

// TestKinds_EveryCheckpointIsTheFoldOfItsPositions breaks streams, loses answers, aborts
// checkpoints and moves the subtask while states of every kind are used.
func TestKinds_EveryCheckpointIsTheFoldOfItsPositions(t *testing.T) {
	for seed := uint64(1); seed <= 3; seed++ {
		t.Run(fmt.Sprint(seed), func(t *testing.T) {
			t.Parallel()
			c := newChaos(t, seed, faketest.Faults{Lose: 0.01, LoseAnswer: 0.01, FenceOwn: 0.005, HoldAck: 0.4, Abort: 0.1, Reassign: 0.004})
			finishChaos(t, c, 2*time.Minute, kindsJob, compareKinds)
			if !strings.Contains(fmt.Sprint(c.Versions()), "1/") {
				t.Error("no checkpoint has state")
			}
		})
	}
}
