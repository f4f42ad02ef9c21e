package backendtest

import (
	"context"
	"fmt"
	"log/slog"
	"os"
	"runtime"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/holdfast-io/holdfast/stateserver/backend"
)

// T is what a check needs of *testing.T.
type T interface {
	Helper()
	Errorf(format string, args ...any)
	Fatalf(format string, args ...any)
	TempDir() string
	Context() context.Context
}

// Check is one check of the suite.
type Check struct {
	Name string
	Run  func(t T, f backend.Factory)
}

// Checks returns the whole suite.
func Checks() []Check {
	return []Check{
		{"Model", checkModel},
		{"CoPartitioned", checkCoPartitioned},
		{"Namespaces", checkNamespaces},
		{"Kinds", checkKinds},
		{"KindRefusals", checkKindRefusals},
		{"Refusals", checkRefusals},
		{"StateLimit", checkStateLimit},
		{"GetPages", checkGetPages},
		{"Scan", checkScan},
		{"ScanUnderWrites", checkScanUnderWrites},
		{"Cut", checkCut},
		{"CutUnderWrites", checkCutUnderWrites},
		{"FullSnapshots", checkFullSnapshots},
		{"IncrementalSnapshots", checkIncrementalSnapshots},
		{"GivenUpSnapshots", checkGivenUp},
		{"FailedWrite", checkFailedWrite},
		{"WriteAgain", checkWriteAgain},
		{"AfterRestore", checkAfterRestore},
		{"Damage", checkDamage},
		{"Rescale", checkRescale},
		{"ReadBounded", checkReadBounded},
		{"Close", checkClose},
	}
}

// Run runs the suite on a backend.
func Run(t *testing.T, f backend.Factory) {
	for _, c := range Checks() {
		t.Run(c.Name, func(t *testing.T) { c.Run(t, f) })
	}
}

// Try runs the suite, or the named checks of it, and returns what failed, by check,
// instead of failing a test: to show that the suite finds a fault. dir is for the
// backends' files.
func Try(ctx context.Context, dir string, f backend.Factory, checks ...string) map[string][]string {
	out := map[string][]string{}
	for _, c := range Checks() {
		if len(checks) > 0 && !slices.Contains(checks, c.Name) {
			continue
		}
		r := &recorder{ctx: ctx, dir: dir}
		r.run(func() { c.Run(r, f) })
		if len(r.failures) > 0 {
			out[c.Name] = r.failures
		}
	}
	return out
}

// recorder is a T that remembers.
type recorder struct {
	ctx context.Context
	dir string

	mu       sync.Mutex
	failures []string
}

// run runs a check to its end, which Fatalf or a panic may be.
func (r *recorder) run(check func()) {
	done := make(chan struct{})
	go func() {
		defer close(done)
		defer func() {
			if p := recover(); p != nil {
				r.Errorf("panic: %v", p)
			}
		}()
		check()
	}()
	<-done
}

// Helper implements T.
func (r *recorder) Helper() {}

// Errorf implements T.
func (r *recorder) Errorf(format string, args ...any) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.failures = append(r.failures, fmt.Sprintf(format, args...))
}

// Fatalf implements T.
func (r *recorder) Fatalf(format string, args ...any) {
	r.Errorf(format, args...)
	runtime.Goexit()
}

// TempDir implements T.
func (r *recorder) TempDir() string {
	dir, err := os.MkdirTemp(r.dir, "check")
	if err != nil {
		r.Fatalf("%v", err)
	}
	return dir
}

// Context implements T.
func (r *recorder) Context() context.Context { return r.ctx }

// node is one backend with its directory.
type node struct {
	t   T
	b   backend.Backend
	dir string
}

func newNode(t T, f backend.Factory) *node {
	t.Helper()
	dir := t.TempDir()
	b, err := f(backend.Env{Dir: dir, CacheBytes: 8 << 20, Option: func(string) string { return "" }, Logger: slog.New(slog.DiscardHandler)})
	if err != nil {
		t.Fatalf("the factory failed: %v", err)
	}
	return &node{t: t, b: b, dir: dir}
}

func (n *node) close() {
	n.t.Helper()
	if err := n.b.Close(); err != nil {
		n.t.Errorf("Backend.Close: %v", err)
	}
}

// left lists the files below a directory.
func left(t T, dir string) []string {
	t.Helper()
	var out []string
	err := fsWalk(dir, func(path string) { out = append(out, strings.TrimPrefix(path, dir)) })
	if err != nil {
		t.Fatalf("list %s: %v", dir, err)
	}
	return out
}
