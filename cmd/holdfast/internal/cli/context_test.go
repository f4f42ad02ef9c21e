package cli

import (
	"os"
	"strings"
	"testing"

	"github.com/holdfast-io/holdfast/cmd/holdfast/internal/contexts"
	"github.com/holdfast-io/holdfast/cmd/holdfast/internal/exit"
)

// line runs a command line as it is written.
func line(t *testing.T, text string) (exit.Code, string, string) {
	t.Helper()
	var stdout, stderr strings.Builder
	code := Main(strings.Fields(text), &stdout, &stderr)
	return code, stdout.String(), stderr.String()
}

func mustLine(t *testing.T, text string) string {
	t.Helper()
	code, stdout, stderr := line(t, text)
	if code != exit.OK {
		t.Fatalf("holdfast %s: %d, %s%s", text, code, stdout, stderr)
	}
	return stdout
}

func TestContext_AddUseListShowRemove(t *testing.T) {
	hermetic(t)
	if got := mustLine(t, "context show"); !strings.Contains(got, "the default") || !strings.Contains(got, "127.0.0.1:7070") {
		t.Fatalf("without contexts: %s", got)
	}
	mustLine(t, "context add dev --address 127.0.0.1:7171")
	mustLine(t, "context add prod --address n1:7070,n2:7070")
	path, _ := contexts.Path()
	if info, err := os.Stat(path); err != nil || info.Mode().Perm() != 0o600 {
		t.Fatalf("%v, %v", info, err)
	}
	if got := mustLine(t, "context list"); got != "CURRENT  NAME  ADDRESS          TLS\n*        dev   127.0.0.1:7171   no\n         prod  n1:7070,n2:7070  no\n" {
		t.Fatalf("%s", got)
	}
	mustLine(t, "context use prod")
	if got := mustLine(t, "context show"); !strings.Contains(got, "of the current context prod") || !strings.Contains(got, "n2:7070") {
		t.Fatalf("%s", got)
	}
	if got := mustLine(t, "context list -o json"); !strings.Contains(got, `"name": "prod",
      "current": true,
      "address": "n1:7070,n2:7070"`) {
		t.Fatalf("%s", got)
	}
	code, _, stderr := line(t, "context remove prod")
	if code != exit.OK || !strings.Contains(stderr, "no context is the current one") {
		t.Fatalf("%d, %s", code, stderr)
	}
	for text, want := range map[string]exit.Code{
		"context add dev --address x:1": exit.Refused, "context add x": exit.Usage, "context add x --address nowhere": exit.Usage,
		"context remove prod": exit.NotFound, "context add dev --address x:1 --replace": exit.OK,
	} {
		if code, _, stderr := line(t, text); code != want {
			t.Errorf("%s: %d, %s", text, code, stderr)
		}
	}
}

// A flag comes before a variable, a variable before a context, a context before the
// default, and an error tells which it was.
func TestTarget_Precedence(t *testing.T) {
	hermetic(t)
	mustLine(t, "context add first --address 127.0.0.1:1")
	mustLine(t, "context add second --address 127.0.0.2:1")
	for _, c := range []struct{ address, context, flags, want string }{
		{"", "", "", "127.0.0.1:1 (of the current context first)"},
		{"", "second", "", "127.0.0.2:1 (of the context second, from HOLDFAST_CONTEXT)"},
		{"127.0.0.3:1", "second", "", "127.0.0.3:1 (from HOLDFAST_ADDRESS)"},
		{"127.0.0.3:1", "first", "--context second", "127.0.0.2:1 (of the context second, from --context)"},
		{"127.0.0.3:1", "first", "--context second --address 127.0.0.4:1", "127.0.0.4:1 (from --address)"},
	} {
		t.Setenv(addressVariable, c.address)
		t.Setenv(contextVariable, c.context)
		if code, _, stderr := line(t, "list --timeout 10ms "+c.flags); code != exit.Unavailable || !strings.Contains(stderr, "no node answers at "+c.want) {
			t.Errorf("%+v: %d, %s", c, code, stderr)
		}
	}
	t.Setenv(addressVariable, "")
	t.Setenv(contextVariable, "gone")
	if code, _, stderr := line(t, "list"); code != exit.NotFound || !strings.Contains(stderr, `no context "gone"; `+"`holdfast context list`") {
		t.Errorf("%d, %s", code, stderr)
	}
	path, _ := contexts.Path()
	if err := os.WriteFile(path, []byte("contexts: {a: {addr: x:1}}"), 0o600); err != nil {
		t.Fatal(err)
	}
	t.Setenv(contextVariable, "")
	if code, _, stderr := line(t, "list"); code != exit.Usage || !strings.Contains(stderr, path) || !strings.Contains(stderr, "addr") {
		t.Errorf("%d, %s", code, stderr)
	}
}
