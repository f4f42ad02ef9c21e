package scenario

import (
	"context"
	"maps"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"google.golang.org/grpc"

	"github.com/holdfast-io/holdfast/integration/harness"
	holdfastv1 "github.com/holdfast-io/holdfast/proto/holdfast/v1"
)

// SnapshotOwners is whose a snapshot is: with NO_CLAIM the user's, with CLAIM the
// job's, which deletes it when its own checkpoints have subsumed it; a checkpoint
// belongs to its job as long as that goes on. Deleting a savepoint is refused while
// a job needs it.
func SnapshotOwners(t *testing.T, c *harness.Cluster, backend string) {
	cfg := harness.FlusherConfig{
		Job: "owner", StateBackend: backend, Directory: c.CheckpointDir("owners"), CheckpointMs: 100, TimeoutMs: 2000, Pause: traffic, InlineThreshold: 1,
		Retention: holdfastv1.CheckpointRetention_CHECKPOINT_RETENTION_RETAIN_ON_CANCELLATION,
	}
	cfg.Retained = 100 // so that none is subsumed while it is asked for
	owner := harness.StartFlusher(c, cfg)
	cfg.Retained = 1
	c.WaitCheckpoint(owner.JobID, 0)
	free, claimed := c.Savepoint(owner.JobID, c.CheckpointDir("savepoints")), c.Savepoint(owner.JobID, c.CheckpointDir("savepoints"))
	own := c.WaitExported(owner.JobID, 0)

	// The checkpoint of a job that goes on.
	cfg.Job, cfg.Restore = "thief", &holdfastv1.RestoreFrom{Path: own.ExternalPath}
	_, err := c.SubmitFrom(cfg.Spec(), cfg.Restore)
	refusedWith(t, "a restore from a running job's checkpoint", err, "RESTORE_FAILED", `by job "owner"`)
	_, err = c.Dispose(own.ExternalPath)
	refusedWith(t, "disposing of it", err, "JOB_STATE", `is a checkpoint of job "owner"`)

	user := restoreWith(t, c, cfg, "user", free, holdfastv1.ClaimMode_CLAIM_MODE_NO_CLAIM)
	taker := restoreWith(t, c, cfg, "taker", claimed, holdfastv1.ClaimMode_CLAIM_MODE_CLAIM)
	harness.Until(t, "the claimed savepoint to be deleted", func() error {
		if left := files(harness.LocalDir(claimed)); len(left) > 0 {
			return errorf("there are %v", left)
		}
		return nil
	})
	verifyClean(t, c, free)
	c.WaitCheckpoint(user.JobID, 0) // before it a restart would begin from the savepoint
	n, err := c.Dispose(free)
	if err != nil || n < 2 || len(files(harness.LocalDir(free))) > 0 {
		t.Errorf("disposing of %s: %d files, %v", free, n, err)
	}
	_, err = c.Dispose(free)
	refusedWith(t, "disposing of it again", err, "RESTORE_FAILED", "there is no manifest")

	// A retained checkpoint, claimed, leaves its job's directory empty.
	last := c.WaitExported(owner.JobID, 0)
	if err := c.Cancel(owner.JobID); err != nil {
		t.Fatal(err)
	}
	last = c.WaitExported(owner.JobID, last.Id-1)
	heir := restoreWith(t, c, cfg, "heir", last.ExternalPath, holdfastv1.ClaimMode_CLAIM_MODE_CLAIM)
	harness.Until(t, "the claimed checkpoint to be deleted", func() error {
		if left := files(harness.LocalDir(last.ExternalPath)); len(left) > 0 {
			return errorf("there are %v", left)
		}
		return nil
	})
	for _, f := range []*harness.Flusher{user, taker, heir} {
		t.Logf("%s: sum %d", f.Config.Job, f.Check())
	}
	c.VerifyReplicas()
}

func restoreWith(t *testing.T, c *harness.Cluster, cfg harness.FlusherConfig, job, path string, mode holdfastv1.ClaimMode) *harness.Flusher {
	t.Helper()
	cfg.Job, cfg.Restore = job, &holdfastv1.RestoreFrom{Path: path, ClaimMode: mode}
	f := harness.StartFlusher(c, cfg)
	c.WaitStatus(f.JobID, holdfastv1.JobStatus_JOB_STATUS_RUNNING)
	return f
}

func refusedWith(t *testing.T, what string, err error, reason, message string) {
	t.Helper()
	if f := harness.FailureOf(err); f.Reason != reason || !strings.Contains(f.Message, message) {
		t.Errorf("%s: %v, want %s with %q", what, err, reason, message)
	} else {
		t.Logf("%s: %s", what, f.Message)
	}
}

// StopWithSavepoint stops a job: it is FINISHED once the savepoint is written, whose
// state is what was flushed before the cut, and the next job goes on from there.
func StopWithSavepoint(t *testing.T, c *harness.Cluster, backend string) {
	cfg := harness.FlusherConfig{Job: "stopped", StateBackend: backend, Directory: c.CheckpointDir("stopped"), CheckpointMs: 100, TimeoutMs: 2000, Pause: traffic}
	f := harness.StartFlusher(c, cfg)
	c.WaitCheckpoint(f.JobID, 0)
	path := c.StopWithSavepoint(f.JobID, c.CheckpointDir("savepoints"), false)
	c.WaitStatus(f.JobID, holdfastv1.JobStatus_JOB_STATUS_FINISHED)
	d, err := c.DescribeSnapshot(path)
	if err != nil {
		t.Fatal(err)
	}
	got, err := c.SnapshotCounts(0, path, harness.FlusherOperator, harness.FlusherState)
	if err != nil {
		t.Fatal(err)
	}
	if diff := harness.Difference(got, harness.FlusherSums(cutOf(d, 1), 4, 50)); diff != "" {
		t.Fatalf("the savepoint: %s", diff)
	}
	harness.Until(t, "the checkpoints of the job to be gone", func() error {
		if left := files(filepath.Join(harness.LocalDir(cfg.Directory), f.JobID)); len(left) > 0 {
			return errorf("there are %v", left)
		}
		return nil
	})
	cfg.Job = "went on"
	next := restoreWith(t, c, cfg, cfg.Job, path, holdfastv1.ClaimMode_CLAIM_MODE_NO_CLAIM)
	t.Logf("stopped at %v; went on: sum %d", cutOf(d, 1), next.Check())
	verifyClean(t, c, path)
}

// SavepointLeaderKill kills the leader while it writes savepoints: the next one
// writes them, and each that is recorded stays whole.
func SavepointLeaderKill(t *testing.T, c *harness.Cluster, backend string, kills int) {
	f := harness.StartFlusher(c, harness.FlusherConfig{
		Job: "kept on", StateBackend: backend, Directory: c.CheckpointDir("killed"), CheckpointMs: 50, Pause: traffic, InlineThreshold: 1})
	c.WaitCheckpoint(f.JobID, 0)
	dir := c.CheckpointDir("savepoints")
	var written []string
	for len(written) < kills {
		op := c.BeginSavepoint(f.JobID, dir)
		old := c.Leader()
		c.Kill(old.Index)
		c.WaitForNewLeader(old)
		if path := writtenOrLost(t, c, op.OperationId); path != "" {
			verifyClean(t, c, path)
			written = append(written, path)
		}
		c.Start(old.Index)
		c.WaitCaughtUp(old.Index)
	}
	for _, path := range written {
		verifyClean(t, c, path) // whatever later leaders have tidied up
	}
	f.Check()
	c.VerifyReplicas()
}

// SavepointLeaderStopped stops the leader while it writes savepoints, and lets it go on
// when another one has recorded them: it changes nothing of what is recorded.
func SavepointLeaderStopped(t *testing.T, c *harness.Cluster, backend string, stops int) {
	f := harness.StartFlusher(c, harness.FlusherConfig{
		Job: "held up", StateBackend: backend, Directory: c.CheckpointDir("stopped"), CheckpointMs: 2000, Pause: traffic, InlineThreshold: 1})
	c.WaitCheckpoint(f.JobID, 0)
	dir := c.CheckpointDir("savepoints")
	for written := 0; written < stops; {
		before := len(files(harness.LocalDir(dir)))
		old := c.Leader()
		op := c.BeginSavepoint(f.JobID, dir)
		_ = harness.Soon(c.SessionTimeout, func() error { // else its checkpoint was aborted
			if len(files(harness.LocalDir(dir))) == before {
				return errorf("the leader has not begun")
			}
			return nil
		})
		freeze(t, c, old.Index)
		now := c.WaitForNewLeader(old)
		path := writtenOrLost(t, c, op.OperationId)
		if path == "" {
			c.Thaw(old.Index)
			c.WaitCaughtUp(old.Index)
			continue
		}
		written++
		problems, done, err := c.VerifySnapshot(now.Index, path)
		if err != nil || len(problems) > 0 || done == nil {
			t.Fatalf("verification of %s while the old leader is stopped: %v %v %v", path, problems, done, err)
		}
		recorded := stamps(t, path)
		c.Thaw(old.Index)
		c.WaitCaughtUp(old.Index)
		c.WaitCheckpoint(f.JobID, c.Completed(f.JobID)) // it has had the time
		verifyClean(t, c, path)
		if again := stamps(t, path); !maps.Equal(again, recorded) {
			t.Errorf("the leader that was stopped changed a savepoint that is recorded: %v, and was %v", again, recorded)
		}
	}
	f.Check()
	c.VerifyReplicas()
}

// stamps are the files of a directory with the time at which each was written.
func stamps(t *testing.T, url string) map[string]time.Time {
	t.Helper()
	out := map[string]time.Time{}
	for _, name := range files(harness.LocalDir(url)) {
		info, err := os.Stat(name)
		if err != nil {
			t.Fatal(err)
		}
		out[name] = info.ModTime()
	}
	return out
}

// writtenOrLost waits for the end of a savepoint; "" if its checkpoint was aborted: the
// leader had the subtask too, and its death ended the attempt.
func writtenOrLost(t *testing.T, c *harness.Cluster, operation string) (path string) {
	t.Helper()
	harness.Until(t, "the end of operation "+operation, func() error {
		r, err := c.Operation(operation)
		switch {
		case err != nil:
			return err
		case r.Checkpoint.Status == holdfastv1.CheckpointStatus_CHECKPOINT_STATUS_ABORTED:
			t.Logf("the checkpoint was aborted: %s", r.Error.GetMessage())
			return nil
		case r.Status == holdfastv1.OperationStatus_OPERATION_STATUS_FAILED:
			return harness.Stop("it failed: %v", r.Error)
		}
		if path = r.Checkpoint.SavepointPath; path == "" {
			return errorf("it is %s", r.Status)
		}
		return nil
	})
	return path
}

// Orphans plants files that no checkpoint names beside those of a job, as uploads
// that were given up leave them: they are deleted, and nothing that is needed is
// (rules C9 and C10).
func Orphans(t *testing.T, c *harness.Cluster, backend string) {
	cfg := harness.FlusherConfig{Job: "litter", StateBackend: backend, Directory: c.CheckpointDir("litter"), CheckpointMs: 100, TimeoutMs: 2000, Pause: traffic, Incremental: true, InlineThreshold: 1,
		Retention: holdfastv1.CheckpointRetention_CHECKPOINT_RETENTION_RETAIN_ON_CANCELLATION}
	f := harness.StartFlusher(c, cfg)
	c.WaitCheckpoint(f.JobID, 2)
	dir := filepath.Join(harness.LocalDir(cfg.Directory), f.JobID)
	gone := []string{"shared/1-1-1-lost", "chk-1/1-1-1-lost", "chk-1/.tmp-0011223344556677-lost"}
	stays := []string{"shared/9-1000000000-1-early", "chk-1000000000/9-1000000000-1-early", "shared/note.txt"}
	old := time.Now().Add(-time.Hour)
	for _, name := range append(append([]string{}, gone...), stays...) {
		path := filepath.Join(dir, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte("left"), 0o600); err != nil {
			t.Fatal(err)
		}
		if err := os.Chtimes(path, old, old); err != nil {
			t.Fatal(err)
		}
	}
	harness.Until(t, "the orphans to be deleted", func() error {
		for _, name := range gone {
			if _, err := os.Stat(filepath.Join(dir, name)); err == nil {
				return errorf("%s is there", name)
			}
		}
		return nil
	})
	for _, name := range stays {
		if _, err := os.Stat(filepath.Join(dir, name)); err != nil {
			t.Errorf("%s is gone: %v", name, err)
		}
	}
	f.Quiesce()
	harness.Until(t, "a checkpoint that is not subsumed while it is read", func() error {
		k := c.WaitExported(f.JobID, 0)
		problems, done, err := c.VerifySnapshot(0, k.ExternalPath)
		if err != nil || len(problems) > 0 || done == nil {
			return errorf("%s: %v %v %v", k.ExternalPath, problems, done, err)
		}
		return nil
	})
	f.Continue()
	f.Check()
	orphansOfEnded(t, c, f, dir, stays[:2], stays[2])
}

// orphansOfEnded cancels a job that keeps its checkpoint: nobody writes for it any more,
// so files of checkpoints that never came go too.
func orphansOfEnded(t *testing.T, c *harness.Cluster, f *harness.Flusher, dir string, gone []string, stays string) {
	t.Helper()
	if err := c.Cancel(f.JobID); err != nil {
		t.Fatal(err)
	}
	harness.Until(t, "the orphans of the job that has ended to be deleted", func() error {
		for _, name := range gone {
			if _, err := os.Stat(filepath.Join(dir, name)); err == nil {
				return errorf("%s is there", name)
			}
		}
		return nil
	})
	if _, err := os.Stat(filepath.Join(dir, stays)); err != nil {
		t.Errorf("%s is gone: %v", stays, err)
	}
	verifyClean(t, c, c.WaitExported(f.JobID, 0).ExternalPath)
}

// SavepointFails asks for savepoints where none can be written: the operation fails
// with the reason, the checkpoint stands, the job goes on, and one that was to be
// stopped goes on too, from the cut.
func SavepointFails(t *testing.T, c *harness.Cluster, backend string) {
	f := harness.StartFlusher(c, harness.FlusherConfig{
		Job: "unmoved", StateBackend: backend, Directory: c.CheckpointDir("unmoved"), CheckpointMs: 100, Pause: traffic, InlineThreshold: 1})
	c.WaitCheckpoint(f.JobID, 0)
	taken := c.CheckpointDir("taken")
	if err := os.WriteFile(harness.LocalDir(taken), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	failed := func(id string, n uint64) {
		t.Helper()
		harness.Until(t, "the operation to fail", func() error {
			r, err := c.Operation(id)
			if err != nil {
				return err
			}
			if r.Status == holdfastv1.OperationStatus_OPERATION_STATUS_IN_PROGRESS {
				return errorf("it is in progress")
			}
			if r.Status != holdfastv1.OperationStatus_OPERATION_STATUS_FAILED || r.Error.GetReason() != holdfastv1.ErrorReason_ERROR_REASON_SAVEPOINT_FAILED {
				return harness.Stop("it ended as %v", r)
			}
			if k := r.Checkpoint; k.Status != holdfastv1.CheckpointStatus_CHECKPOINT_STATUS_COMPLETED {
				return harness.Stop("its checkpoint is %v", k)
			}
			t.Logf("checkpoint %d: %s", n, r.Error.Message)
			return nil
		})
	}
	op := c.BeginSavepoint(f.JobID, taken+"/below")
	failed(op.OperationId, op.CheckpointId)
	attempt := c.MustDescribe(f.JobID).Subtasks[0].Attempt
	var stop *holdfastv1.StopResponse
	if err := c.Anywhere("an answer to Stop", func(ctx context.Context, conn *grpc.ClientConn) (err error) {
		stop, err = holdfastv1.NewJobServiceClient(conn).Stop(ctx, &holdfastv1.StopRequest{Job: f.JobID, Directory: taken + "/below"})
		return err
	}); err != nil {
		t.Fatal(err)
	}
	failed(stop.OperationId, stop.CheckpointId)
	waitAttempt(c, f.JobID, attempt)
	c.WaitCheckpoint(f.JobID, stop.CheckpointId)
	t.Logf("the job goes on: sum %d", f.Check())
}
