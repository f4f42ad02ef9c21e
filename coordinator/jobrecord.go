//go:build !bug_snapshot_field

package coordinator

import (
	"google.golang.org/protobuf/proto"

	internalv1 "github.com/holdfast-io/holdfast/proto/holdfast/internalv1"
)

// jobRecord is the whole of a job as a snapshot keeps it (invariant 8).
func jobRecord(j jobState) *internalv1.Job { return proto.CloneOf(j) }
