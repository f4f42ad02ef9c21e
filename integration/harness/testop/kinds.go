package testop

import (
	"errors"

	holdfast "github.com/holdfast-io/holdfast/clients/go"
	"github.com/holdfast-io/holdfast/integration/harness"
)

// kinds has a state of each kind: harness.KindsOf says what it does with them.
type kinds struct {
	count   *holdfast.ReducingState[int64]
	offsets *holdfast.ListState[int64]
	seen    *holdfast.MapState[int64, int64]
	thirds  *holdfast.MapState[int64, int64]
	largest *holdfast.ReducingState[int64]
	mean    *holdfast.AggregatingState[int64, holdfast.Mean, float64]
}

// Open declares the states.
func (k *kinds) Open(ctx holdfast.RuntimeContext) error {
	ttl := holdfast.NewStateTTLConfig(harness.KindTTL)
	var errs [6]error
	k.count, errs[0] = holdfast.GetReducingState(ctx, holdfast.ReducingStateDescriptor[int64]{Name: harness.OperatorState, Reduce: holdfast.Sum[int64]()})
	k.offsets, errs[1] = holdfast.GetListState(ctx, holdfast.ListStateDescriptor[int64]{Name: harness.KindList})
	k.seen, errs[2] = holdfast.GetMapState(ctx, holdfast.MapStateDescriptor[int64, int64]{Name: harness.KindMap})
	k.thirds, errs[3] = holdfast.GetMapState(ctx, holdfast.MapStateDescriptor[int64, int64]{Name: harness.KindTTLMap, TTL: ttl.SetUpdateType(holdfast.OnReadAndWrite)})
	k.largest, errs[4] = holdfast.GetReducingState(ctx, holdfast.ReducingStateDescriptor[int64]{Name: harness.KindLargest, Reduce: holdfast.Max[int64](), TTL: ttl})
	k.mean, errs[5] = holdfast.GetAggregatingState(ctx, holdfast.AggregatingStateDescriptor[int64, holdfast.Mean, float64]{Name: harness.KindMean, Aggregate: holdfast.Average[int64]()})
	return errors.Join(errs[:]...)
}

// FlatMap takes one record in.
func (k *kinds) FlatMap(r record, _ holdfast.Collector[string]) error {
	o := r.Offset
	errs := []error{k.count.Add(1)}
	if o%64 == 0 {
		errs = append(errs, k.offsets.Clear())
	}
	errs = append(errs, k.offsets.Add(o), k.seen.Put(o%4, o))
	if o%32 == 0 {
		errs = append(errs, k.seen.Remove(1))
	}
	n, _, err := k.thirds.Get(o % 3)
	errs = append(errs, err, k.thirds.Put(o%3, n+1), k.largest.Add(o%50), k.mean.Add(o))
	return errors.Join(errs...)
}
