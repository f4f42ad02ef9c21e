package scenario

import (
	"regexp"
	"strings"
	"testing"

	"google.golang.org/grpc/codes"

	"github.com/holdfast-io/holdfast/integration/harness"
)

// failure is what a client must be told. Empty fields are not compared.
type failure struct {
	code            codes.Code
	reason, outcome string
	// message is the exact text; # stands for a number.
	message string
	// metadata names keys that must be there.
	metadata []string
	// retry wants to know when to try again.
	retry bool
}

func expectFailure(t *testing.T, what string, err error, want failure) {
	t.Helper()
	if err == nil {
		t.Errorf("%s: accepted, want %s", what, want.reason)
		return
	}
	got := harness.FailureOf(err)
	if got.Reason != want.reason || want.outcome != "" && got.Outcome != want.outcome {
		t.Errorf("%s: reason %q, outcome %q, code %s, message %q; want %s, %s", what, got.Reason, got.Outcome, got.Code, got.Message, want.reason, want.outcome)
		return
	}
	if want.code != codes.OK && got.Code != want.code {
		t.Errorf("%s: the code of %s is %s, want %s", what, got.Reason, got.Code, want.code)
	}
	if want.message != "" && !sameText(want.message, got.Message) {
		t.Errorf("%s:\ngot  %q\nwant %q", what, got.Message, want.message)
	}
	if got.Message == "" {
		t.Errorf("%s: %s comes without a message", what, got.Reason)
	}
	if want.retry && got.RetryAfter <= 0 {
		t.Errorf("%s: %s comes without RetryInfo", what, got.Reason)
	}
	for _, key := range want.metadata {
		if got.Metadata[key] == "" {
			t.Errorf("%s: the metadata of %s has no %q: %v", what, got.Reason, key, got.Metadata)
		}
	}
}

// sameText compares with a text in which # stands for a number.
func sameText(want, got string) bool {
	pattern := strings.ReplaceAll(regexp.QuoteMeta(want), "#", `\d+`)
	return regexp.MustCompile("^(?s:" + pattern + ")$").MatchString(got)
}
