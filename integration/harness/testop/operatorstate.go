package testop

import (
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"

	holdfast "github.com/holdfast-io/holdfast/clients/go"
	"github.com/holdfast-io/holdfast/integration/harness"
)

// keeper passes records on and has operator state of each mode:
// harness.OperatorStateUID says what it does with them.
type keeper struct {
	cfg   harness.OperatorConfig
	list  *holdfast.OperatorListState[string]
	union *holdfast.OperatorListState[string]
	rules *holdfast.BroadcastState[string, int64]
	// seen counts records by partition, of those that the subtask has.
	seen map[uint32]int64
}

// Open declares the states, and takes from the union what is the subtask's own.
func (k *keeper) Open(ctx holdfast.RuntimeContext) error {
	var errs [3]error
	k.list, errs[0] = holdfast.GetOperatorListState(ctx, holdfast.OperatorListStateDescriptor[string]{Name: harness.SplitState})
	k.union, errs[1] = holdfast.GetUnionListState(ctx, holdfast.OperatorListStateDescriptor[string]{Name: harness.UnionState})
	k.rules, errs[2] = holdfast.GetBroadcastState(ctx, holdfast.BroadcastStateDescriptor[string, int64]{Name: harness.BroadcastState})
	if err := errors.Join(errs[:]...); err != nil || ctx.Attempt() == 0 {
		return err
	}
	elements, err := k.list.Get()
	if err != nil {
		return err
	}
	if err := k.restore(ctx); err != nil {
		return err
	}
	fmt.Printf("%s %d %d %d\n", harness.RestoredLine, ctx.Attempt(), ctx.SubtaskIndex(), len(elements))
	for i := range harness.Rules {
		if err := k.rules.Put(harness.RuleName(i), int64(i)); err != nil {
			return err
		}
	}
	return k.rules.Put(harness.GenerationName(k.cfg.Generation), int64(k.cfg.Generation))
}

// restore refuses a union that is neither empty nor that of all subtasks.
func (k *keeper) restore(ctx holdfast.RuntimeContext) error {
	all, err := k.union.Get()
	if err != nil {
		return err
	}
	if len(all) != 0 && len(all) != k.cfg.Partitions {
		return fmt.Errorf("subtask %d was restored with a union of %v", ctx.SubtaskIndex(), all)
	}
	k.seen = map[uint32]int64{}
	for p := range k.cfg.Partitions {
		if p*ctx.Parallelism()/k.cfg.Partitions == ctx.SubtaskIndex() {
			k.seen[uint32(p)] = 0
		}
	}
	for _, text := range all {
		var p uint32
		var n int64
		if _, err := fmt.Sscanf(text, harness.UnionFormat, &p, &n); err != nil {
			return fmt.Errorf("the union has %q: %w", text, err)
		}
		if _, own := k.seen[p]; own {
			k.seen[p] = n
		}
	}
	return nil
}

// FlatMap counts a record, and keeps every so manieth one.
func (k *keeper) FlatMap(r record, out holdfast.Collector[record]) error {
	if n := k.seen[r.Partition]; n != r.Offset {
		return fmt.Errorf("record %d of partition %d came when the operator state counts %d", r.Offset, r.Partition, n)
	}
	k.seen[r.Partition]++
	if r.Offset%harness.KeptEvery == 0 {
		if err := k.list.Add(harness.KeptRecord(r.Partition, r.Offset) + strings.Repeat(" ", k.cfg.OperatorStateBytes)); err != nil {
			return err
		}
	}
	out.Collect(r)
	return nil
}

// SnapshotState puts the counts into the union.
func (k *keeper) SnapshotState(uint64) error {
	var own []string
	for _, p := range slices.Sorted(maps.Keys(k.seen)) {
		own = append(own, fmt.Sprintf(harness.UnionFormat, p, k.seen[p]))
	}
	return k.union.Update(own)
}
