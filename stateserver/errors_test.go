package stateserver

import (
	"context"
	"errors"
	"fmt"
	"testing"

	"google.golang.org/genproto/googleapis/rpc/errdetails"
	"google.golang.org/grpc/status"

	"github.com/holdfast-io/holdfast/coordinator"
	holdfastv1 "github.com/holdfast-io/holdfast/proto/holdfast/v1"
	"github.com/holdfast-io/holdfast/raftstore"
)

// Every reason has a code, so none reaches a client as an internal error.
func TestErrors_EveryReasonIsInTheTable(t *testing.T) {
	for n, name := range holdfastv1.ErrorReason_name {
		if _, ok := codesByReason[holdfastv1.ErrorReason(n)]; !ok && n != 0 {
			t.Errorf("%s has no gRPC code", name)
		}
	}
}

func TestErrors_StatusCarriesReasonAndOutcome(t *testing.T) {
	err := toStatus(coordinator.Failure(holdfastv1.ErrorReason_ERROR_REASON_JOB_NOT_FOUND, "no job", "job", "x"))
	for _, d := range status.Convert(err).Details() {
		if info, ok := d.(*errdetails.ErrorInfo); ok {
			if info.Reason != "JOB_NOT_FOUND" || info.Domain != "holdfast" || info.Metadata["outcome"] != "final" || info.Metadata["job"] != "x" {
				t.Fatalf("ErrorInfo: %v", info)
			}
			return
		}
	}
	t.Fatal("the status has no ErrorInfo")
}

func TestErrors_StoreSentinels(t *testing.T) {
	cases := []struct {
		err     error
		reason  holdfastv1.ErrorReason
		outcome holdfastv1.Outcome
	}{
		{raftstore.ErrNotLeader, holdfastv1.ErrorReason_ERROR_REASON_NO_LEADER, holdfastv1.Outcome_OUTCOME_NOT_APPLIED},
		{raftstore.ErrLeadershipLost, holdfastv1.ErrorReason_ERROR_REASON_NO_LEADER, holdfastv1.Outcome_OUTCOME_UNKNOWN},
		{raftstore.ErrOverloaded, holdfastv1.ErrorReason_ERROR_REASON_OVERLOADED, holdfastv1.Outcome_OUTCOME_NOT_APPLIED},
		{raftstore.ErrCommandTooLarge, holdfastv1.ErrorReason_ERROR_REASON_COMMAND_TOO_LARGE, holdfastv1.Outcome_OUTCOME_FINAL},
		{context.DeadlineExceeded, holdfastv1.ErrorReason_ERROR_REASON_PROPOSAL_TIMEOUT, holdfastv1.Outcome_OUTCOME_UNKNOWN},
		{errors.New("other"), holdfastv1.ErrorReason_ERROR_REASON_INTERNAL, holdfastv1.Outcome_OUTCOME_UNKNOWN},
	}
	for _, c := range cases {
		got := fromStore(fmt.Errorf("while proposing: %w", c.err))
		if got.Reason != c.reason || got.Outcome != c.outcome {
			t.Errorf("%v: %v %v, want %v %v", c.err, got.Reason, got.Outcome, c.reason, c.outcome)
		}
	}
}
