package scenario

import (
	"testing"

	"github.com/holdfast-io/holdfast/integration/harness"
	holdfastv1 "github.com/holdfast-io/holdfast/proto/holdfast/v1"
)

// ChangedPrograms begins changed programs from a savepoint, as Flink's page on
// restoring has it: state without an operator or a declaration is refused unless it
// may be left behind, new operators begin empty, and what cannot be read as it is
// declared is refused with the state named.
func ChangedPrograms(t *testing.T, c *harness.Cluster, backend string) {
	cfg := harness.FlusherConfig{Job: "before", StateBackend: backend, CheckpointMs: 100, Pause: traffic}
	f := harness.StartFlusher(c, cfg)
	c.WaitCheckpoint(f.JobID, 0)
	from := &holdfastv1.RestoreFrom{Path: c.StopWithSavepoint(f.JobID, c.CheckpointDir("savepoints"), false)}
	from.Path = c.Move(from.Path, c.CheckpointDir("moved"))
	for _, x := range []struct {
		name            string
		change          func(op *holdfastv1.Operator)
		reason, message string // "": it begins with what the savepoint has
		allowed         bool   // to leave state behind: it begins from empty then
	}{
		{"another type", func(op *holdfastv1.Operator) { op.States[0].Type = "string" }, "STATE_INCOMPATIBLE", `state "sums" of operator "adder" has in the snapshot the type "int64"`, false},
		{"another kind", func(op *holdfastv1.Operator) { op.States[0].Kind = holdfastv1.StateKind_STATE_KIND_LIST }, "STATE_INCOMPATIBLE", "the kind VALUE, and the job declares LIST", false},
		{"an older version", func(op *holdfastv1.Operator) { op.States[0].TypeVersion = 0 }, "STATE_INCOMPATIBLE", "the older version 0", false},
		{"other key groups", func(op *holdfastv1.Operator) { op.MaxParallelism = 64 }, "STATE_INCOMPATIBLE", "set it to 128", false},
		{"co-partitioned", func(op *holdfastv1.Operator) {
			op.Inputs[0].Partitioning = holdfastv1.Partitioning_PARTITIONING_CO_PARTITIONED
		}, "STATE_INCOMPATIBLE", "by the hash of the key in the snapshot", false},
		{"no such operator", func(op *holdfastv1.Operator) { op.Uid = "other" }, "NON_RESTORED_STATE", `operator "adder", which the job does not have`, true},
		{"no such state", func(op *holdfastv1.Operator) { op.States[0].Name = "other" }, "NON_RESTORED_STATE", `the state "sums" of operator "adder", which the job does not declare`, true},
		{"a state more", func(op *holdfastv1.Operator) {
			op.States = append(op.States, &holdfastv1.StateDescriptor{Name: "new", Kind: holdfastv1.StateKind_STATE_KIND_MAP, Type: "string", MapKeyType: "string"})
		}, "", "", false},
		{"a newer version", func(op *holdfastv1.Operator) { op.States[0].TypeVersion = 2 }, "", "", false},
	} {
		cfg.Job = "after " + x.name
		spec := cfg.Spec()
		x.change(spec.Operators[1])
		id, err := c.SubmitFrom(spec, from)
		if x.reason != "" {
			refusedWith(t, x.name, err, x.reason, x.message)
			if !x.allowed {
				continue
			}
			id, err = c.SubmitFrom(spec, &holdfastv1.RestoreFrom{Path: from.Path, AllowNonRestoredState: true})
		}
		if err != nil {
			t.Errorf("%s: %v", x.name, err)
			continue
		}
		if err := c.Cancel(id); err != nil {
			t.Error(err)
		}
	}
	cfg.Job = "after all"
	next := restoreWith(t, c, cfg, cfg.Job, from.Path, holdfastv1.ClaimMode_CLAIM_MODE_NO_CLAIM)
	t.Logf("the unchanged one goes on: sum %d", next.Check())
}
