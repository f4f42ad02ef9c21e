//go:build bug_ack_overwrites

package coordinator

import holdfastv1 "github.com/holdfast-io/holdfast/proto/holdfast/v1"

// Planted bug, against invariants 2 and 3: a second ack of a subtask takes the
// place of the first.
func (m *Machine) ackStands(p *holdfastv1.Checkpoint, subtask uint64) bool {
	for i, a := range p.Acks {
		if a.SubtaskId == subtask {
			p.Acks = append(p.Acks[:i:i], p.Acks[i+1:]...)
			m.keyed.DropVersion(subtask, p.Id)
			break
		}
	}
	return false
}
