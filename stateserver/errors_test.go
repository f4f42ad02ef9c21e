package stateserver

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"unicode/utf8"

	"google.golang.org/genproto/googleapis/rpc/errdetails"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/proto"

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

// TestErrors_PageIsComplete compares docs/errors.md with the enum and the codes.
func TestErrors_PageIsComplete(t *testing.T) {
	page, err := os.ReadFile(filepath.Join("..", "docs", "errors.md"))
	if err != nil {
		t.Fatal(err)
	}
	told := map[string]bool{}
	for line := range strings.Lines(string(page)) {
		cells := strings.Split(strings.TrimSpace(line), " | ")
		if len(cells) != 5 || !strings.HasPrefix(cells[0], "| `") {
			continue
		}
		name := strings.Trim(cells[0], "| `")
		reason, known := holdfastv1.ErrorReason_value["ERROR_REASON_"+name]
		if !known || told[name] {
			t.Errorf("the page has %q, which is no reason or is there twice", name)
		}
		told[name] = true
		var code codes.Code
		if err := code.UnmarshalJSON([]byte(`"` + cells[1] + `"`)); err != nil || code != codesByReason[holdfastv1.ErrorReason(reason)] {
			t.Errorf("%s has the code %s on the page, %s in the table", name, cells[1], codesByReason[holdfastv1.ErrorReason(reason)])
		}
		for outcome := range strings.SplitSeq(cells[2], ", ") {
			if _, ok := holdfastv1.Outcome_value["OUTCOME_"+strings.ToUpper(outcome)]; !ok {
				t.Errorf("%s has the outcome %q", name, outcome)
			}
		}
	}
	for n, name := range holdfastv1.ErrorReason_name {
		if short := strings.TrimPrefix(name, "ERROR_REASON_"); n != 0 && !told[short] {
			t.Errorf("the page does not have %s", short)
		}
	}
}

// A text that repeats a client's input must fit in the header of a status.
func TestErrors_TextsAreBounded(t *testing.T) {
	long := strings.Repeat("é", 1<<20)
	st := status.Convert(toStatus(coordinator.Failure(holdfastv1.ErrorReason_ERROR_REASON_JOB_NOT_FOUND, long, "field", long)))
	if size := proto.Size(st.Proto()); size > 3*maxStatusText || !utf8.ValidString(st.Message()) {
		t.Errorf("the status has %d bytes", size)
	}
}

// OVERLOADED tells when to come again.
func TestErrors_OverloadedHasRetryInfo(t *testing.T) {
	for _, d := range status.Convert(toStatus(overloaded("full"))).Details() {
		if r, ok := d.(*errdetails.RetryInfo); ok && r.RetryDelay.AsDuration() == overloadedDelay {
			return
		}
	}
	t.Error("there is no RetryInfo")
}
