//go:build bug_ack_unchecked_base

package coordinator

import holdfastv1 "github.com/holdfast-io/holdfast/proto/holdfast/v1"

// Planted bug, against invariant 12: an ack may name files that were deleted with
// the checkpoint which had them.
func namedBy([]*holdfastv1.StateHandle, *holdfastv1.StateHandle) bool { return true }
