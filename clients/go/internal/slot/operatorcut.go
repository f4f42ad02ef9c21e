//go:build !bug_opstate_at_ready

package slot

// operatorCut is the operator state of a seal: that of the barrier, however far the
// records went since (rule 6.9).
func (a *attempt) operatorCut(s *seal) operatorSnapshot { return s.operator }
