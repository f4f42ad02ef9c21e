//go:build bug_pos_at_ready

package slot

import "github.com/holdfast-io/holdfast/clients/go/source"

// Planted bug, against rule 6.1 and invariant 2: the positions are those of
// CheckpointReady, behind records that are not in the checkpoint.
func (a *attempt) cut(*seal) []source.Position { return a.positions }
