//go:build !bug_snapshot_field

package coordinator

import (
	"google.golang.org/protobuf/proto"

	internalv1 "github.com/holdfast-io/holdfast/proto/holdfast/internalv1"
	holdfastv1 "github.com/holdfast-io/holdfast/proto/holdfast/v1"
)

// jobRecord is the whole of a job as a snapshot keeps it (invariant 8). Handles are
// shared with the job and not copied: they may be many megabytes, and nothing
// changes them once they are recorded. The caller keeps everybody else from the
// machine meanwhile.
func jobRecord(j jobState) *internalv1.Job {
	from := handlesOf(j)
	lent := make([][]*holdfastv1.StateHandle, len(from))
	for i, h := range from {
		lent[i], *h = *h, nil
	}
	out := proto.CloneOf(j)
	for i, h := range handlesOf(out) {
		*h, *from[i] = lent[i], lent[i]
	}
	return out
}
