package raftstore

import (
	"github.com/holdfast-io/holdfast/coordinator"
	internalv1 "github.com/holdfast-io/holdfast/proto/holdfast/internalv1"
	holdfastv1 "github.com/holdfast-io/holdfast/proto/holdfast/v1"
)

// keeping is a job with operator state: one checkpoint has it, one is declined, and one
// is pending.
func (g *goldenLog) keeping() {
	spec := goldenSpec("keeping", 10_000)
	spec.Operators[0].OperatorStates = []*holdfastv1.OperatorStateDescriptor{
		{Name: "kept", Mode: holdfastv1.OperatorStateMode_OPERATOR_STATE_MODE_SPLIT_DISTRIBUTE, Type: "string"},
		{Name: "rules", Mode: holdfastv1.OperatorStateMode_OPERATOR_STATE_MODE_BROADCAST, Type: "int64", MapKeyType: "string", TypeVersion: 2},
	}
	g.must(goldenSubmit(spec, nil))
	st := g.discover("keeping", true)
	ready := func(seq uint64, change func(*internalv1.Ready)) {
		r := &internalv1.Ready{
			SubtaskId: st.id, FencingToken: st.token, Seq: seq, CheckpointId: g.begin("keeping"), TimeMs: goldenTime, Jitter: 0.25,
			Positions: []*holdfastv1.Position{{Topic: "in", NextOffset: int64(seq), LeaderEpoch: -1}},
		}
		change(r)
		g.must(&internalv1.Command{Command: &internalv1.Command_Ready{Ready: r}})
	}
	ready(1, func(r *internalv1.Ready) {
		r.Handles = []*holdfastv1.StateHandle{coordinator.InlineOperatorState([]byte("packed"))}
	})
	ready(2, func(r *internalv1.Ready) {
		r.Declined = coordinator.OperatorStateTooLarge(1<<20, coordinator.MaxOperatorStateInLog)
	})
	st = g.assign("keeping", st)
	g.begin("keeping")
}
