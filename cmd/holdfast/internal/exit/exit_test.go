package exit

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"

	"google.golang.org/genproto/googleapis/rpc/errdetails"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	holdfastv1 "github.com/holdfast-io/holdfast/proto/holdfast/v1"
)

// rpcError is what a call returns: a status with an ErrorInfo.
func rpcError(t *testing.T, code codes.Code, reason, message string) error {
	t.Helper()
	st := status.New(code, message)
	if reason == "" {
		return st.Err()
	}
	st, err := st.WithDetails(&errdetails.ErrorInfo{Reason: reason, Domain: domain})
	if err != nil {
		t.Fatal(err)
	}
	return st.Err()
}

func TestFromRPC_SentenceAndCode(t *testing.T) {
	for _, c := range []struct {
		code            codes.Code
		reason, message string
		wantCode        Code
		want            string
	}{
		{codes.NotFound, "JOB_NOT_FOUND", `no job "x"`, NotFound, "JOB_NOT_FOUND: no job \"x\"; `holdfast list` shows the jobs"},
		{codes.NotFound, "JOB_NOT_FOUND", "no job \"x\"; `holdfast list` shows the jobs", NotFound, "JOB_NOT_FOUND: no job \"x\"; `holdfast list` shows the jobs"},
		{codes.NotFound, "STATE_NOT_FOUND", "no state \"s\".", NotFound, "STATE_NOT_FOUND: no state \"s\"; `holdfast describe` shows the job's states"},
		{codes.Unavailable, "NO_LEADER", "no leader is known", Unavailable, "NO_LEADER: no leader is known; `holdfast cluster status` shows the nodes; a majority must run"},
		{codes.Unavailable, "PROPOSAL_TIMEOUT", "not answered", Unavailable, "PROPOSAL_TIMEOUT: not answered"},
		{codes.Unavailable, "", "connection refused", Unavailable, "UNREACHABLE: connection refused; is a node running? --address or HOLDFAST_ADDRESS names the nodes"},
		{codes.DeadlineExceeded, "", "context deadline exceeded", Unavailable, "UNREACHABLE: context deadline exceeded; is a node running? --address or HOLDFAST_ADDRESS names the nodes"},
		{codes.FailedPrecondition, "JOB_STATE", "the job is RUNNING", Refused, "JOB_STATE: the job is RUNNING; `holdfast describe` shows the job"},
		{codes.FailedPrecondition, "CHECKPOINTS_DISABLED", "the job has none", Refused, "CHECKPOINTS_DISABLED: the job has none; the program enables them"},
		{codes.AlreadyExists, "JOB_SPEC_DIFFERS", "it differs", Refused, "JOB_SPEC_DIFFERS: it differs"},
		{codes.InvalidArgument, "INVALID_REQUEST", "page_size", Usage, "INVALID_REQUEST: page_size"},
		{codes.Internal, "INTERNAL", "a bug", Failure, "INTERNAL: a bug"},
		{codes.Unimplemented, "", "unknown method", Failure, "unknown method"},
		{codes.Unknown, "", "two\nlines\there", Failure, "two lines here"},
		{codes.Internal, "", "", Failure, "the server gave no message"},
	} {
		err := FromRPC(rpcError(t, c.code, c.reason, c.message))
		if err.Error() != c.want || CodeOf(err) != c.wantCode {
			t.Errorf("%s %s: got %q, %d\nwant %q, %d", c.code, c.reason, err, CodeOf(err), c.want, c.wantCode)
		}
	}
}

func TestFromRPC_OtherDomainIsNoReason(t *testing.T) {
	st, err := status.New(codes.NotFound, "m").WithDetails(&errdetails.ErrorInfo{Reason: "JOB_NOT_FOUND", Domain: "elsewhere"})
	if err != nil {
		t.Fatal(err)
	}
	if got := FromRPC(st.Err()).Error(); got != "m" {
		t.Fatalf("got %q", got)
	}
}

func TestCodeOf_Table(t *testing.T) {
	for _, c := range []struct {
		err  error
		want Code
	}{
		{nil, OK},
		{errors.New("x"), Failure},
		{Errorf(Usage, "x"), Usage},
		{fmt.Errorf("while: %w", Errorf(Refused, "x")), Refused},
		{context.Canceled, Interrupted},
		{fmt.Errorf("while: %w", context.Canceled), Interrupted},
		{FromRPC(status.Error(codes.Canceled, "canceled")), Interrupted},
		{FromRPC(nil), OK},
	} {
		if got := CodeOf(c.err); got != c.want {
			t.Errorf("CodeOf(%v) = %d, want %d", c.err, got, c.want)
		}
	}
}

func TestErrorf_KeepsTheCause(t *testing.T) {
	cause := errors.New("cause")
	if err := Errorf(Failure, "while: %w", cause); !errors.Is(err, cause) || err.Error() != "while: cause" {
		t.Fatalf("got %v", err)
	}
}

// TestByReason_NamesExist keeps the tables to reasons that the protocol has.
func TestByReason_NamesExist(t *testing.T) {
	for _, table := range []map[string]bool{keys(byReason), keys(hints)} {
		for reason := range table {
			if _, ok := holdfastv1.ErrorReason_value["ERROR_REASON_"+reason]; !ok && reason != "UNREACHABLE" {
				t.Errorf("%s is no reason of the protocol", reason)
			}
		}
	}
}

func keys[V any](m map[string]V) map[string]bool {
	out := map[string]bool{}
	for k := range m {
		out[k] = true
	}
	return out
}

func TestMeanings_CoverEveryCodeOnce(t *testing.T) {
	seen := map[Code]bool{}
	for _, m := range Meanings() {
		if seen[m.Code] || strings.TrimSpace(m.Text) == "" {
			t.Errorf("code %d", m.Code)
		}
		seen[m.Code] = true
	}
	for _, c := range []Code{OK, Failure, Usage, NotFound, Unavailable, Refused, Interrupted} {
		if !seen[c] {
			t.Errorf("code %d has no meaning", c)
		}
	}
}
