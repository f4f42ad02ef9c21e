package scenario

import (
	"fmt"
	"os"
	"path/filepath"
	"testing"

	"github.com/holdfast-io/holdfast/integration/harness"
	holdfastv1 "github.com/holdfast-io/holdfast/proto/holdfast/v1"
)

// SavepointHop is one job of SavepointChain.
type SavepointHop struct {
	Backend     string
	Parallelism int
}

// SavepointChain takes a savepoint of a job while it runs, moves it, and lets the next
// job, of another backend and parallelism, begin from there: with exactly what was
// flushed before the cut, and its positions (invariants 2 and 10). The savepoint is
// read through every node, and every file is as its metadata says.
func SavepointChain(t *testing.T, c *harness.Cluster, hops ...SavepointHop) {
	const partitions = 4
	var from *holdfastv1.RestoreFrom
	for i, h := range hops {
		cfg := harness.FlusherConfig{
			Job: fmt.Sprintf("hop-%d", i), StateBackend: h.Backend, Slots: h.Parallelism, Partitions: partitions, CoPartitioned: true,
			CheckpointMs: 100, Pause: traffic, Restore: from, InlineThreshold: uint64(i % 2), // else all of it is in the metadata
		}
		if h.Backend != "memory" {
			cfg.Directory = c.CheckpointDir("hops")
		}
		f := harness.StartFlusher(c, cfg)
		c.WaitCheckpoint(f.JobID, 0)
		f.WaitAcked(200)
		if from != nil {
			for _, s := range c.MustDescribe(f.JobID).Subtasks {
				if s.RestoredCheckpoint == 0 {
					t.Errorf("subtask %d of %s began from empty", s.Index, cfg.Job)
				}
			}
		}
		path := c.Savepoint(f.JobID, c.CheckpointDir("savepoints"))
		path = c.Move(path, c.CheckpointDir(fmt.Sprintf("moved-%d", i)))
		d, err := c.DescribeSnapshot(path)
		if err != nil {
			t.Fatal(err)
		}
		want := harness.FlusherSums(cutOf(d, partitions), 4, 50)
		for n := range c.Size() {
			got, err := c.SnapshotCounts(n, path, harness.FlusherOperator, harness.FlusherState)
			if err != nil {
				t.Fatal(err)
			}
			if diff := harness.Difference(got, want); diff != "" {
				t.Fatalf("the savepoint of %s (%v): %s", cfg.Job, h, diff)
			}
		}
		verifyClean(t, c, path)
		sum := f.Check()
		t.Logf("%s on %s at parallelism %d from %q: sum %d is right; savepoint of checkpoint %d has %d keys", cfg.Job, h.Backend, h.Parallelism, from.GetPath(), sum, d.CheckpointId, len(want))
		if err := c.Cancel(f.JobID); err != nil {
			t.Fatal(err)
		}
		from = &holdfastv1.RestoreFrom{Path: path}
	}
	c.VerifyReplicas()
}

// cutOf reads how many flushes of each partition a snapshot counts.
func cutOf(d *holdfastv1.SnapshotDescription, partitions int) map[uint32]int64 {
	cut := map[uint32]int64{}
	for _, o := range d.Operators {
		for _, p := range o.Positions {
			cut[p.Partition] = p.NextOffset
		}
	}
	if len(cut) != partitions {
		cut = nil
	}
	return cut
}

// verifyClean reads every file of a snapshot.
func verifyClean(t *testing.T, c *harness.Cluster, path string) {
	t.Helper()
	problems, done, err := c.VerifySnapshot(c.RunningNodes()[0], path)
	if err != nil || len(problems) > 0 || done == nil {
		t.Fatalf("verification of %s: %v %v %v", path, problems, done, err)
	}
}

// Retention ends jobs with checkpoints in a directory: what stays is what
// execution.checkpointing.externalized-checkpoint-retention says, and what stays
// restores.
func Retention(t *testing.T, c *harness.Cluster, backend string) {
	for _, keep := range []bool{false, true} {
		cfg := harness.FlusherConfig{
			Job: fmt.Sprintf("retention-%v", keep), StateBackend: backend, Directory: c.CheckpointDir("retention"), CheckpointMs: 100, TimeoutMs: 2000, Pause: traffic,
		}
		if keep {
			cfg.Retention = holdfastv1.CheckpointRetention_CHECKPOINT_RETENTION_RETAIN_ON_CANCELLATION
		}
		f := harness.StartFlusher(c, cfg)
		c.WaitExported(f.JobID, c.WaitCheckpoint(f.JobID, 3).Id)
		f.Quiesce()
		k := c.WaitExported(f.JobID, c.WaitCheckpoint(f.JobID, c.Completed(f.JobID)).Id-1)
		if err := c.Cancel(f.JobID); err != nil {
			t.Fatal(err)
		}
		dir := filepath.Join(harness.LocalDir(cfg.Directory), f.JobID)
		if !keep {
			harness.Until(t, "the directory of the job to be gone", func() error {
				if left := files(dir); len(left) > 0 {
					return errorf("there are %v", left)
				}
				return nil
			})
			continue
		}
		restoreKept(t, c, f, cfg, k)
	}
	c.VerifyReplicas()
}

// restoreKept begins a job from the newest checkpoint that a cancelled one left.
func restoreKept(t *testing.T, c *harness.Cluster, f *harness.Flusher, cfg harness.FlusherConfig, k *holdfastv1.Checkpoint) {
	t.Helper()
	k = c.WaitExported(f.JobID, k.Id-1)
	verifyClean(t, c, k.ExternalPath)
	cfg.Job, cfg.Restore = "kept", &holdfastv1.RestoreFrom{Path: k.ExternalPath}
	next := harness.StartFlusher(c, cfg)
	c.WaitCheckpoint(next.JobID, k.Id)
	t.Logf("restored from %s: sum %d", k.ExternalPath, next.Check())
	verifyClean(t, c, k.ExternalPath)
}

// files lists what is below a directory, without directories.
func files(dir string) (names []string) {
	_ = filepath.WalkDir(dir, func(p string, d os.DirEntry, err error) error {
		if err == nil && !d.IsDir() {
			names = append(names, p)
		}
		return nil
	})
	return names
}
