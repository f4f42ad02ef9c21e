package cli

import (
	"bytes"
	"context"
	"encoding/json"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/holdfast-io/holdfast/cmd/holdfast/internal/exit"
	"github.com/holdfast-io/holdfast/internal/await"
	holdfastv1 "github.com/holdfast-io/holdfast/proto/holdfast/v1"
)

// growing is an output that a test looks at while it is written.
type growing struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (g *growing) Write(p []byte) (int, error) {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.b.Write(p)
}

func (g *growing) String() string {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.b.String()
}

// until waits until the output pleases ok.
func (g *growing) until(t *testing.T, what string, ok func(string) bool) {
	t.Helper()
	await.Until(t, time.Minute, what, func() bool { return ok(g.String()) }, g.String)
}

// watching runs a command line until stop is called, which tells its exit code.
func watching(t *testing.T, args ...string) (stdout, stderr *growing, stop func() exit.Code) {
	t.Helper()
	stdout, stderr = &growing{}, &growing{}
	a := &app{stdout: stdout, stderr: stderr}
	ctx, cancel := context.WithCancel(t.Context())
	root := a.root()
	root.SetArgs(args)
	root.SetOut(stdout)
	root.SetErr(stderr)
	code := make(chan exit.Code, 1)
	go func() {
		err := root.ExecuteContext(ctx)
		if err == nil {
			code <- exit.OK
			return
		}
		code <- a.fail(err)
	}()
	return stdout, stderr, func() exit.Code {
		cancel()
		return <-code
	}
}

func (f *fakeNode) addJob(name string) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.extra = append(f.extra, &holdfastv1.JobSummary{JobId: name, Name: name, Status: holdfastv1.JobStatus_JOB_STATUS_RUNNING})
}

func TestWatch_OneLineOfJSONAChange(t *testing.T) {
	f := startFake(t)
	stdout, _, stop := watching(t, "list", "--watch", "-o", "json", "--address", f.address)
	lines := func(n int) func(string) bool { return func(s string) bool { return strings.Count(s, "\n") == n } }
	stdout.until(t, "the first line", lines(1))
	f.addJob("second")
	stdout.until(t, "the change", lines(2))
	if code := stop(); code != exit.OK {
		t.Fatalf("exit code %d", code)
	}
	for i, l := range strings.Split(strings.TrimSpace(stdout.String()), "\n") {
		var v struct {
			Jobs []jobView `json:"jobs"`
		}
		if err := json.Unmarshal([]byte(l), &v); err != nil || len(v.Jobs) != i+1 {
			t.Errorf("line %d: %v, %s", i, err, l)
		}
	}
}

func TestWatch_OneBlockAChangeInAPipe(t *testing.T) {
	f := startFake(t)
	stdout, _, stop := watching(t, "list", "--watch", "--address", f.address)
	stdout.until(t, "the first block", func(s string) bool { return strings.Contains(s, "counts") })
	f.addJob("second")
	stdout.until(t, "the change", func(s string) bool { return strings.Contains(s, "second") })
	stop()
	if got := stdout.String(); strings.Count(got, "NAME  ") != 2 || !strings.Contains(got, "\n\nNAME") || strings.Contains(got, "\x1b") {
		t.Fatalf("%q", got)
	}
}

// A watch goes on over an election, says so once, and shows what comes after.
func TestWatch_GoesOnWhileNobodyLeads(t *testing.T) {
	f := startFake(t)
	stdout, stderr, stop := watching(t, "list", "--watch", "--address", f.address, "--timeout", "50ms")
	stdout.until(t, "the first block", func(s string) bool { return strings.Contains(s, "counts") })
	f.down.Store(true)
	stderr.until(t, "the trouble", func(s string) bool { return strings.Contains(s, "NO_LEADER") })
	f.down.Store(false)
	f.addJob("second")
	stdout.until(t, "the change", func(s string) bool { return strings.Contains(s, "second") })
	if code := stop(); code != exit.OK || strings.Count(stderr.String(), "trying again\n") != 1 {
		t.Fatalf("%d, %s", code, stderr.String())
	}
}

func TestWatch_OfAJobFollowsItsStream(t *testing.T) {
	f := startFake(t)
	stdout, _, stop := watching(t, "describe", "counts", "--watch", "-o", "json", "--address", f.address)
	stdout.until(t, "the first line", func(s string) bool { return strings.Count(s, "\n") == 1 })
	select {
	case f.watched <- description("counts"):
	case <-time.After(60 * time.Second):
		t.Fatal("nobody reads the Watch stream")
	}
	if code := stop(); code != exit.OK {
		t.Fatalf("exit code %d", code)
	}
}

func TestWatch_FirstErrorEndsIt(t *testing.T) {
	f := startFake(t)
	for args, want := range map[string]exit.Code{"describe x -w": exit.NotFound, "checkpoints x -w": exit.NotFound, "checkpoints counts 99 -w": exit.NotFound, "describe leaderless -w --timeout 2s": exit.Unavailable} {
		if code, _, stderr := invoke(f, strings.Fields(args)...); code != want {
			t.Errorf("%s: %d, %s", args, code, stderr)
		}
	}
	// What is decided does not change: nothing to wait for.
	if code, stdout, _ := invoke(f, "checkpoints", "counts", "8", "-w"); code != exit.OK || !strings.Contains(stdout, "checkpoint   8") {
		t.Errorf("%d, %s", code, stdout)
	}
}
