package scenario

import (
	"testing"

	"github.com/holdfast-io/holdfast/integration/harness"
)

// failure is what a client must be told. Empty fields are not compared.
type failure struct {
	reason, outcome string
	// metadata names keys that must be there.
	metadata []string
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
	if got.Message == "" {
		t.Errorf("%s: %s comes without a message", what, got.Reason)
	}
	for _, key := range want.metadata {
		if got.Metadata[key] == "" {
			t.Errorf("%s: the metadata of %s has no %q: %v", what, got.Reason, key, got.Metadata)
		}
	}
}
