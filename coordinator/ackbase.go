//go:build !bug_ack_unchecked_base

package coordinator

import (
	"slices"

	holdfastv1 "github.com/holdfast-io/holdfast/proto/holdfast/v1"
)

// namedBy tells whether the ack of a base names a file that a new ack wants to
// share with it: only then it is there, and stays (invariant 12).
func namedBy(base []*holdfastv1.StateHandle, h *holdfastv1.StateHandle) bool {
	return slices.ContainsFunc(base, func(b *holdfastv1.StateHandle) bool { return sameFile(b, h) })
}
