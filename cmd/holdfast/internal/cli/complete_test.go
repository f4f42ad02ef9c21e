package cli

import (
	"fmt"
	"net"
	"strings"
	"testing"
	"time"

	"github.com/holdfast-io/holdfast/cmd/holdfast/internal/exit"
	holdfastv1 "github.com/holdfast-io/holdfast/proto/holdfast/v1"
)

// complete is what a shell is told, without the last line, which is for the shell.
func complete(t *testing.T, args ...string) string {
	t.Helper()
	var stdout, stderr strings.Builder
	// What is asked here is what is answered, however slow this machine is.
	a := &app{stdout: &stdout, stderr: &stderr, completeWithin: time.Minute}
	if code := a.main(a.root(), append([]string{"__complete"}, args...)); code != exit.OK {
		t.Fatalf("%v: %d, %s", args, code, stderr.String())
	}
	i := strings.LastIndex(stdout.String(), ":")
	if i < 0 {
		t.Fatalf("%v: %q", args, stdout.String())
	}
	return strings.TrimSpace(stdout.String()[:i])
}

func TestComplete_NamesFromTheCluster(t *testing.T) {
	hermetic(t)
	f := startFake(t)
	f.extra = []*holdfastv1.JobSummary{
		// A name means the newest job that has it.
		{Name: "over", Status: holdfastv1.JobStatus_JOB_STATUS_SUSPENDED},
		{Name: "over", Status: holdfastv1.JobStatus_JOB_STATUS_CANCELED}, {Name: "stuck", Status: holdfastv1.JobStatus_JOB_STATUS_SUSPENDED},
	}
	t.Setenv(addressVariable, f.address)
	mustLine(t, "context add dev --address 127.0.0.1:7171")
	for _, c := range []struct{ args, want string }{
		{"describe ", "counts\tRUNNING\nover\tCANCELED\nstuck\tSUSPENDED"},
		{"describe c", "counts\tRUNNING"},
		{"describe counts ", ""},
		{"cancel ", "counts\tRUNNING\nstuck\tSUSPENDED"},
		{"stop c", "counts\tRUNNING"},
		{"savepoint c", "counts\tRUNNING"},
		{"savepoint counts ", ""},
		{"savepoint --dispose ", ""},
		{"run --from-savepoint ", ""},
		{"run --claim-mode ", "NO_CLAIM\nCLAIM"},
		{"verify ", ""},
		{"diff ", ""},
		{"resume ", "stuck\tSUSPENDED"},
		{"checkpoints counts ", "8\tcompleted\n7\taborted"},
		{"state get counts --checkpoint ", "8\tcompleted"},
		{"state list counts --state ", "counters\tint64 of mapper"},
		{"state list counts --uid ", "mapper\tCount"},
		{"state list counts --key-type ", "string\nint64\nfloat64\nbool\njson\nbytes"},
		{"list -o ", "table\njson"},
		{"list --context ", "dev\t127.0.0.1:7171"},
		{"context use ", "dev\t127.0.0.1:7171"},
		{"cluster remove ", "n1\t" + f.address + "\nn2\t127.0.0.1:1"},
		{"cluster transfer-leadership n2", "n2\t127.0.0.1:1"},
		{"completion ", "bash\nzsh\nfish"},
		{"describe unknown-job --excep", "--exceptions\tshow the exceptions alone, all of them, with their stacks"},
	} {
		if got := complete(t, strings.Split(c.args, " ")...); got != c.want {
			t.Errorf("%q: %q, want %q", c.args, got, c.want)
		}
	}
}

// Nobody answers, or somebody who never does: nothing is completed, nothing is
// said, and the person does not wait.
func TestComplete_SilentAndBoundedWithoutAnAnswer(t *testing.T) {
	hermetic(t)
	deaf, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer deaf.Close()
	slow := startFake(t)
	slow.hang.Store(true)
	for _, address := range []string{"127.0.0.1:1", deaf.Addr().String(), slow.address, "no-port"} {
		t.Setenv(addressVariable, address)
		done := make(chan string, 1)
		go func() {
			var stdout, stderr strings.Builder
			code := Main([]string{"__complete", "describe", ""}, &stdout, &stderr)
			done <- fmt.Sprint(code, stdout.String(), stderr.String())
		}()
		select {
		case got := <-done:
			if !strings.HasPrefix(got, "0:4\n") || strings.Contains(got, "holdfast: ") {
				t.Errorf("%s: %q", address, got)
			}
		case <-time.After(30 * completeWithin):
			t.Fatalf("%s: completion does not end", address)
		}
	}
}

func TestCompletion_Scripts(t *testing.T) {
	for shell, want := range map[string]string{"bash": "__start_holdfast", "zsh": "#compdef holdfast", "fish": "complete -c holdfast"} {
		if code, stdout, stderr := line(t, "completion "+shell); code != exit.OK || !strings.Contains(stdout, want) {
			t.Errorf("%s: %d, %s", shell, code, stderr)
		}
	}
}
