package scenario

import (
	"context"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"google.golang.org/grpc"

	"github.com/holdfast-io/holdfast/integration/harness"
	holdfastv1 "github.com/holdfast-io/holdfast/proto/holdfast/v1"
)

// damage is a savepoint that no job may begin from.
type damage struct {
	name string
	do   func(dir string) error // in a copy of a good one
	// path is what is asked for instead of the copy, made from its URL.
	path func(url string) string
	// reason and message are those of Submit; or of the job, where late.
	reason, message string
	late            bool
}

const metadataName = "_metadata"

// stateFile is the one file of the savepoint's state.
func stateFile(dir string) string {
	names, _ := filepath.Glob(filepath.Join(dir, "1-0-*"))
	if len(names) != 1 {
		return filepath.Join(dir, "missing")
	}
	return names[0]
}

func damages() []damage {
	metadata := func(f func(name string) error) func(string) error {
		return func(dir string) error { return f(filepath.Join(dir, metadataName)) }
	}
	state := func(f func(name string) error) func(string) error {
		return func(dir string) error { return f(stateFile(dir)) }
	}
	foreign := func(name string) error {
		return os.WriteFile(name, []byte("a note of somebody else, that is no part of any snapshot at all"), 0o600)
	}
	return []damage{
		{name: "no metadata", do: metadata(os.Remove), reason: "RESTORE_FAILED", message: "_metadata: there is no manifest"},
		{name: "truncated metadata", do: metadata(halve), reason: "RESTORE_FAILED", message: "_metadata: corrupt: it is truncated"},
		{name: "flipped metadata", do: metadata(flip(40)), reason: "RESTORE_FAILED", message: "_metadata: corrupt: its checksum is wrong"},
		{name: "newer metadata", do: metadata(flip(8)), reason: "RESTORE_FAILED", message: "use the release that wrote it, or a newer one"},
		{name: "foreign metadata", do: metadata(foreign), reason: "RESTORE_FAILED", message: "_metadata: corrupt: it is no manifest"},
		{name: "no state", do: state(os.Remove), reason: "RESTORE_FAILED", message: "1-0-adder"},
		{name: "truncated state", do: state(halve), reason: "RESTORE_FAILED", message: "1-0-adder"},
		{name: "foreign state", do: state(foreign), reason: "RESTORE_FAILED", message: "1-0-adder"},
		{name: "flipped state", do: state(flip(100)), reason: "RESTORE_FAILED", message: "1-0-adder", late: true},
		{name: "nothing there", do: os.RemoveAll, reason: "RESTORE_FAILED", message: "there is no manifest"},
		{name: "path upwards", path: func(u string) string { return u + "/../x" }, reason: "INVALID_REQUEST", message: `has the element ".."`},
		{name: "link out of the root", do: linkOut, reason: "PATH_NOT_ALLOWED", message: "symbolic link"},
		{name: "outside of the roots", path: func(string) string { return "file:///etc" }, reason: "PATH_NOT_ALLOWED", message: "is not below an allowed root"},
		{name: "unknown scheme", path: func(string) string { return "gs://bucket/x" }, reason: "INVALID_REQUEST", message: "has no known scheme"},
		{name: "no scheme", path: func(string) string { return "/mnt/x" }, reason: "INVALID_REQUEST", message: "file:///mnt/x"},
	}
}

func halve(name string) error {
	b, err := os.ReadFile(name)
	if err != nil {
		return err
	}
	return os.WriteFile(name, b[:len(b)/2], 0o600)
}

// flip changes one bit of a byte.
func flip(at int) func(string) error {
	return func(name string) error {
		b, err := os.ReadFile(name)
		if err != nil {
			return err
		}
		b[at] ^= 8
		return os.WriteFile(name, b, 0o600)
	}
}

// linkOut puts a link to a directory that is not allowed in the place of a savepoint:
// beside the root of all checkpoints.
func linkOut(dir string) error {
	out := filepath.Join(filepath.Dir(filepath.Dir(dir)), "outside")
	if err := os.Rename(dir, out); err != nil {
		return err
	}
	return os.Symlink(out, dir)
}

// DamagedSavepoints begins jobs from savepoints that are not whole, and from where
// none may be read: each is refused with the file named, and nothing begins from empty
// (invariant 13). The good one still restores.
func DamagedSavepoints(t *testing.T, c *harness.Cluster, backend string) {
	cfg := harness.FlusherConfig{Job: "good", StateBackend: backend, CheckpointMs: 100, Pause: traffic, InlineThreshold: 1}
	if backend != "memory" {
		cfg.Directory = c.CheckpointDir("damaged")
	}
	f := harness.StartFlusher(c, cfg)
	c.WaitCheckpoint(f.JobID, 0)
	good := c.Savepoint(f.JobID, c.CheckpointDir("savepoints"))
	if err := c.Cancel(f.JobID); err != nil {
		t.Fatal(err)
	}
	for _, d := range damages() {
		path := c.CheckpointDir("bad-" + strings.ReplaceAll(d.name, " ", "-"))
		if err := os.CopyFS(harness.LocalDir(path), os.DirFS(harness.LocalDir(good))); err != nil {
			t.Fatal(err)
		}
		if d.do != nil {
			if err := d.do(harness.LocalDir(path)); err != nil {
				t.Fatal(err)
			}
		}
		if d.path != nil {
			path = d.path(path)
		}
		cfg.Job, cfg.Restore = "from "+d.name, &holdfastv1.RestoreFrom{Path: path}
		restoreDamaged(t, c, cfg, d)
	}
	cfg.Job, cfg.Restore = "from the good one", &holdfastv1.RestoreFrom{Path: good}
	next := harness.StartFlusher(c, cfg)
	c.WaitStatus(next.JobID, holdfastv1.JobStatus_JOB_STATUS_RUNNING)
	t.Logf("the good one restores: sum %d", next.Check())
}

func restoreDamaged(t *testing.T, c *harness.Cluster, cfg harness.FlusherConfig, d damage) {
	t.Helper()
	if !d.late {
		_, err := c.SubmitFrom(cfg.Spec(), cfg.Restore)
		if f := harness.FailureOf(err); f.Reason != d.reason || !strings.Contains(f.Message, d.message) {
			t.Errorf("%s: %s %q, want %s with %q", d.name, f.Reason, f.Message, d.reason, d.message)
		} else {
			t.Logf("%s: %s", d.name, f.Message)
		}
		if jobs, err := c.Describe(cfg.Job); err == nil {
			t.Errorf("%s: there is a job %v", d.name, jobs.Summary)
		}
		return
	}
	f := harness.StartFlusher(c, cfg)
	j := c.WaitStatus(f.JobID, holdfastv1.JobStatus_JOB_STATUS_SUSPENDED)
	if r := j.Reason; r.GetReason() != holdfastv1.ErrorReason_ERROR_REASON_RESTORE_FAILED || !strings.Contains(r.GetMessage(), d.message) {
		t.Errorf("%s: the job is suspended with %v", d.name, r)
	} else {
		t.Logf("%s: SUSPENDED: %s", d.name, r.Message)
	}
	if err := c.Cancel(f.JobID); err != nil {
		t.Error(err)
	}
}

// BadDirectories submits jobs whose directories cannot be used: each is told why, with
// the node that cannot, and no job is made. The second node does not allow partly.
func BadDirectories(t *testing.T, c *harness.Cluster, partly string) {
	readOnly := c.CheckpointDir("read-only")
	if err := os.MkdirAll(harness.LocalDir(readOnly), 0o500); err != nil {
		t.Fatal(err)
	}
	file := c.CheckpointDir("file")
	if err := os.WriteFile(harness.LocalDir(file), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	for _, x := range []struct{ name, directory, reason, message string }{
		{"outside", "file:///etc", "PATH_NOT_ALLOWED", "file:///etc is not below an allowed root"},
		{"a file", file, "INVALID_JOB_SPEC", "the checkpoint directory cannot be used"},
		{"not everywhere", partly, "INVALID_JOB_SPEC", "on node " + c.Node(1).Name + ": refused"},
		{"read only", readOnly, "INVALID_JOB_SPEC", "the checkpoint directory cannot be used"},
	} {
		if x.name == "read only" && os.Geteuid() == 0 {
			continue // root may write everywhere
		}
		_, err := c.SubmitFrom(harness.FlusherConfig{Job: x.name, StateBackend: "filesystem", CheckpointMs: 100, Directory: x.directory}.Spec(), nil)
		refusedWith(t, x.name, err, x.reason, x.message)
	}
	f := harness.StartFlusher(c, harness.FlusherConfig{Job: "good", StateBackend: "filesystem", CheckpointMs: 100, Directory: c.CheckpointDir("good"), Pause: traffic})
	err := c.Anywhere("an answer to TriggerSavepoint", func(ctx context.Context, conn *grpc.ClientConn) error {
		_, err := holdfastv1.NewJobServiceClient(conn).TriggerSavepoint(ctx, &holdfastv1.TriggerSavepointRequest{Job: "good", Directory: "file:///etc"})
		return err
	})
	refusedWith(t, "a savepoint outside", err, "PATH_NOT_ALLOWED", "is not below an allowed root")
	c.WaitExported(f.JobID, 0)
	if left, err := filepath.Glob(filepath.Join(harness.LocalDir(c.CheckpointDir("good")), "[mp][ar]*-*")); err != nil || len(left) > 0 {
		t.Errorf("trying the directory left %v, %v", left, err)
	}
}
