//go:build !bug_ack_overwrites

package coordinator

import holdfastv1 "github.com/holdfast-io/holdfast/proto/holdfast/v1"

// ackStands tells whether a subtask has acked a checkpoint: the first ack stands
// (invariant 3).
func (m *Machine) ackStands(p *holdfastv1.Checkpoint, subtask uint64) bool { return acked(p, subtask) }
