package supervise

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/signal"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/holdfast-io/holdfast/cmd/holdfast/internal/procs"
)

// The test binary is its own operator program: with this variable it does what
// it says instead of testing.
const childEnv = "HOLDFAST_SUPERVISE_TEST_CHILD"

const waitLimit = 20 * time.Second

func TestMain(m *testing.M) {
	switch os.Getenv(childEnv) {
	case "":
		os.Exit(m.Run())
	case "environment":
		for _, name := range []string{"ADDRESS", "SUBMISSION_ID", "PROCESS_ID", "PARALLELISM", "JOB_NAME"} {
			value, set := os.LookupEnv("HOLDFAST_" + name)
			fmt.Println(name, value, set)
		}
		fmt.Fprintln(os.Stderr, "a log line")
	case "fail":
		os.Exit(3)
	case "fail-once":
		// The first process of the test leaves a mark and fails.
		f, err := os.OpenFile(os.Getenv("MARK"), os.O_CREATE|os.O_EXCL, 0o644)
		if err == nil {
			f.Close()
			os.Exit(3)
		}
	case "wait":
		<-time.After(10 * time.Minute)
	case "stubborn":
		signal.Ignore(syscall.SIGTERM)
		<-time.After(10 * time.Minute)
	}
}

// recorder collects events and reports.
type recorder struct {
	mu       sync.Mutex
	events   []Event
	reported []string
	changed  chan struct{}
}

func (r *recorder) config(t *testing.T, mode string, processes int) Config {
	t.Helper()
	r.changed = make(chan struct{}, 1000)
	return Config{
		Path: os.Args[0], Env: []string{childEnv + "=" + mode, "MARK=" + filepath.Join(t.TempDir(), "mark")},
		Processes: processes, Parallelism: 1, Addresses: []string{"a:1", "b:2"},
		Logs:    LogNames{Dir: filepath.Join(t.TempDir(), "logs"), User: "u", Job: "j", Host: "h"},
		Restart: true, MinDelay: time.Millisecond, MaxDelay: 4 * time.Millisecond, Grace: waitLimit,
		Report: func(_ context.Context, id string) error {
			r.mu.Lock()
			defer r.mu.Unlock()
			r.reported = append(r.reported, id)
			return nil
		},
		Event: func(e Event) {
			r.mu.Lock()
			r.events = append(r.events, e)
			r.mu.Unlock()
			r.changed <- struct{}{}
		},
	}
}

func (r *recorder) of(kind Kind) []Event {
	r.mu.Lock()
	defer r.mu.Unlock()
	var out []Event
	for _, e := range r.events {
		if e.Kind == kind {
			out = append(out, e)
		}
	}
	return out
}

// await waits until n events of a kind have come.
func (r *recorder) await(t *testing.T, kind Kind, n int) []Event {
	t.Helper()
	deadline := time.After(waitLimit)
	for {
		if got := r.of(kind); len(got) >= n {
			return got
		}
		select {
		case <-r.changed:
		case <-deadline:
			t.Fatalf("waited %s for %d events %q, have %d", waitLimit, n, kind, len(r.of(kind)))
		}
	}
}

func TestRun_EndsWhenAllHaveEndedWell(t *testing.T) {
	r := &recorder{}
	cfg := r.config(t, "environment", 2)
	cfg.JobName, cfg.Parallelism = "counts", 2
	s := New(cfg)
	if err := s.Run(context.Background()); err != nil {
		t.Fatal(err)
	}
	started := r.of(Started)
	if len(started) != 2 || len(r.of(Exited)) != 2 || len(s.Processes()) != 0 {
		t.Fatalf("%+v", r.events)
	}
	ids := map[string]bool{}
	for _, e := range started {
		out, err := os.ReadFile(e.Process.Out)
		if err != nil {
			t.Fatal(err)
		}
		want := fmt.Sprintf("ADDRESS a:1,b:2 true\nSUBMISSION_ID %s true\nPROCESS_ID %s true\nPARALLELISM 2 true\nJOB_NAME counts true\n",
			s.submissionID, e.Process.ProcessID)
		if string(out) != want {
			t.Errorf("the process saw\n%swant\n%s", out, want)
		}
		log, err := os.ReadFile(e.Process.Log)
		if err != nil || string(log) != "a log line\n" {
			t.Errorf("log %q, %v", log, err)
		}
		ids[e.Process.ProcessID] = true
	}
	if len(ids) != 2 {
		t.Errorf("process ids are not fresh: %v", ids)
	}
}

func TestRun_JobNameOnlyWhereGiven(t *testing.T) {
	r := &recorder{}
	if err := New(r.config(t, "environment", 1)).Run(context.Background()); err != nil {
		t.Fatal(err)
	}
	out, err := os.ReadFile(r.of(Started)[0].Process.Out)
	if err != nil || !strings.Contains(string(out), "JOB_NAME  false") {
		t.Fatalf("%s, %v", out, err)
	}
}

func TestRun_RestartsWhatFailedAndReportsIt(t *testing.T) {
	r := &recorder{}
	if err := New(r.config(t, "fail-once", 1)).Run(context.Background()); err != nil {
		t.Fatal(err)
	}
	started, exited := r.of(Started), r.of(Exited)
	if len(started) != 2 || len(exited) != 2 || exited[0].Exit.Code != 3 || !exited[1].Exit.OK() {
		t.Fatalf("%+v", r.events)
	}
	if a, b := started[0].Process, started[1].Process; a.ProcessID == b.ProcessID || a.Out == b.Out || a.Slot != b.Slot {
		t.Errorf("the second process is not a new one: %+v %+v", a, b)
	}
	want := []string{started[0].Process.ProcessID, started[1].Process.ProcessID}
	slices.Sort(want)
	slices.Sort(r.reported)
	if !slices.Equal(r.reported, want) {
		t.Errorf("reported %v, want %v", r.reported, want)
	}
}

func TestRun_DelayDoublesUpToItsBound(t *testing.T) {
	r := &recorder{}
	cfg := r.config(t, "fail", 1)
	cfg.GiveUp = 5
	if err := New(cfg).Run(context.Background()); !errors.Is(err, ErrGaveUp) {
		t.Fatalf("got %v", err)
	}
	var delays []time.Duration
	for _, e := range r.of(Waiting) {
		delays = append(delays, e.Delay/time.Millisecond)
	}
	if !slices.Equal(delays, []time.Duration{1, 2, 4, 4}) {
		t.Fatalf("delays %v ms", delays)
	}
}

func TestRun_NoRestartOnceTheWorkIsOver(t *testing.T) {
	r := &recorder{}
	cfg := r.config(t, "fail", 2)
	cfg.Over = func(_ context.Context, exit procs.Exit, ends int) bool { return exit.Code == 3 && ends == 3 }
	if err := New(cfg).Run(context.Background()); err != nil {
		t.Fatal(err)
	}
	if started, waited := len(r.of(Started)), len(r.of(Waiting)); started != 6 || waited != 4 {
		t.Fatalf("%d processes after %d pauses", started, waited)
	}
}

// A plain kill lets a program end well while the job goes on.
func TestRun_EndedWellButNotOver(t *testing.T) {
	r := &recorder{}
	cfg := r.config(t, "environment", 1)
	cfg.Over = func(_ context.Context, exit procs.Exit, ends int) bool { return exit.OK() && ends == 2 }
	if err := New(cfg).Run(context.Background()); err != nil {
		t.Fatal(err)
	}
	if n := len(r.of(Started)); n != 2 {
		t.Fatalf("%d processes", n)
	}
}

func TestRun_NeverRestart(t *testing.T) {
	r := &recorder{}
	cfg := r.config(t, "fail", 1)
	cfg.Restart = false
	if err := New(cfg).Run(context.Background()); err == nil || !strings.Contains(err.Error(), "exit code 3") {
		t.Fatalf("got %v", err)
	}
	if n := len(r.of(Started)); n != 1 {
		t.Fatalf("%d processes", n)
	}
}

func TestRun_ContextEndsTheProcesses(t *testing.T) {
	for mode, grace := range map[string]time.Duration{"wait": waitLimit, "stubborn": 50 * time.Millisecond} {
		t.Run(mode, func(t *testing.T) {
			r := &recorder{}
			cfg := r.config(t, mode, 2)
			cfg.Grace = grace
			ctx, cancel := context.WithCancel(context.Background())
			done := make(chan error, 1)
			go func() { done <- New(cfg).Run(ctx) }()
			r.await(t, Started, 2)
			cancel()
			if err := <-done; err != nil {
				t.Fatal(err)
			}
			if n := len(r.of(Exited)); n != 2 {
				t.Fatalf("%d of 2 processes ended", n)
			}
		})
	}
}

func TestKill_OnlyItsOwnAndAnotherFollows(t *testing.T) {
	r := &recorder{}
	ctx, cancel := context.WithCancel(context.Background())
	s := New(r.config(t, "wait", 1))
	done := make(chan error, 1)
	go func() { done <- s.Run(ctx) }()
	pid := r.await(t, Started, 1)[0].Process.Pid
	if err := s.Kill(os.Getpid()); err == nil {
		t.Fatal("this process is no operator process")
	}
	if err := s.Kill(pid); err != nil {
		t.Fatal(err)
	}
	if e := r.await(t, Exited, 1)[0]; e.Exit.String() != "SIGKILL" || e.Process.Pid != pid {
		t.Fatalf("%+v", e)
	}
	r.await(t, Started, 2)
	cancel()
	if err := <-done; err != nil {
		t.Fatal(err)
	}
}

func TestRun_ProgramThatCannotStart(t *testing.T) {
	r := &recorder{}
	cfg := r.config(t, "wait", 1)
	cfg.Path = "/does/not/exist"
	if err := New(cfg).Run(context.Background()); !errors.Is(err, os.ErrNotExist) {
		t.Fatalf("got %v", err)
	}
}

func TestLogNames_NextFreeNumber(t *testing.T) {
	for name, c := range map[string]struct {
		there []string
		want  int
	}{
		"empty":            {nil, 0},
		"after the last":   {[]string{"holdfast-u-j-0-h.out", "holdfast-u-j-0-h.log", "holdfast-u-j-1-h.out"}, 2},
		"above a hole":     {[]string{"holdfast-u-j-7-h.out"}, 8},
		"log alone counts": {[]string{"holdfast-u-j-3-h.log"}, 4},
		"others' files": {
			[]string{"holdfast-u-other-9-h.out", "holdfast-v-j-9-h.out", "holdfast-u-j-9-g.out", "holdfast-u-j-x-h.out", "holdfast-u-j-9-h.txt", "holdfast-u-j--9-h.out"}, 0,
		},
		"job whose name ends in a number": {[]string{"holdfast-u-j-1-5-h.out"}, 0},
	} {
		t.Run(name, func(t *testing.T) {
			l := LogNames{Dir: t.TempDir(), User: "u", Job: "j", Host: "h"}
			for _, f := range c.there {
				if err := os.WriteFile(filepath.Join(l.Dir, f), nil, 0o644); err != nil {
					t.Fatal(err)
				}
			}
			files, err := l.Create()
			if err != nil {
				t.Fatal(err)
			}
			defer files.Close()
			if files.N != c.want || files.Out.Name() != l.Path(c.want, ".out") || files.Log.Name() != l.Path(c.want, ".log") {
				t.Fatalf("n = %d (%s), want %d", files.N, files.Out.Name(), c.want)
			}
		})
	}
}

func TestLogNames_ConcurrentRunsShareNoFile(t *testing.T) {
	l := LogNames{Dir: t.TempDir(), User: "u", Job: "j", Host: "h"}
	const many = 20
	seen := make(chan int, many)
	var wg sync.WaitGroup
	for range many {
		wg.Go(func() {
			files, err := l.Create()
			if err != nil {
				t.Error(err)
				return
			}
			seen <- files.N
			files.Close()
		})
	}
	wg.Wait()
	close(seen)
	numbers := map[int]bool{}
	for n := range seen {
		numbers[n] = true
	}
	if len(numbers) != many {
		t.Fatalf("%d numbers for %d processes", len(numbers), many)
	}
}

func TestLogNames_AnyJobNameIsAFileName(t *testing.T) {
	l := LogNames{Dir: "d", User: `DOM\me`, Job: "my job/1", Host: ""}
	if got := l.Path(0, ".out"); got != filepath.Join("d", "holdfast-DOM_me-my_job_1-0-unknown.out") {
		t.Fatalf("got %s", got)
	}
}
