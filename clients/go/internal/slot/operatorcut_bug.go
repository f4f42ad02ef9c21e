//go:build bug_opstate_at_ready

package slot

// Planted bug, against rule 6.9 and invariant 2: the operator state is that of
// CheckpointReady, with records that are read again.
func (a *attempt) operatorCut(s *seal) operatorSnapshot { return a.operatorSnapshot(s.checkpoint) }
