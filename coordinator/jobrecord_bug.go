//go:build bug_snapshot_field

package coordinator

import (
	"google.golang.org/protobuf/proto"

	internalv1 "github.com/holdfast-io/holdfast/proto/holdfast/internalv1"
)

// Planted bug, against invariant 8: a snapshot forgets how far the frames of each
// subtask were applied.
func jobRecord(j jobState) *internalv1.Job {
	out := proto.CloneOf(j)
	forSubtasks(out, func(_ vertexState, st subtaskState) { st.LastSeq = 0 })
	return out
}
