//go:build !bug_pos_at_ready

package slot

import "github.com/holdfast-io/holdfast/clients/go/source"

// cut is where the checkpoint of a seal goes on: the positions of the barrier,
// however far the records went since (rule 6.1).
func (a *attempt) cut(s *seal) []source.Position { return s.positions }
