//go:build bug_late_ack

package coordinator

import holdfastv1 "github.com/holdfast-io/holdfast/proto/holdfast/v1"

// Planted bug, against invariant 3: an ack that comes late brings an aborted
// checkpoint back.
func waitsFor(j jobState, checkpoint uint64) bool {
	for i, c := range j.History {
		if j.Pending == nil && c.Id == checkpoint && c.Status == holdfastv1.CheckpointStatus_CHECKPOINT_STATUS_ABORTED {
			j.History = append(j.History[:i:i], j.History[i+1:]...)
			c.Status = holdfastv1.CheckpointStatus_CHECKPOINT_STATUS_PENDING
			j.Pending = c
			j.Counts.Aborted--
		}
	}
	return j.Pending != nil && j.Pending.Id == checkpoint
}
