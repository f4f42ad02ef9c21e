package scenario

import (
	"bytes"
	"testing"
	"time"

	"github.com/holdfast-io/holdfast/integration/harness"
	holdfastv1 "github.com/holdfast-io/holdfast/proto/holdfast/v1"
)

// LargeState is a state that is many times larger than the memory of its node.
type LargeState struct {
	Backend    string
	ValueBytes int
	Keys       int
	Records    int64
	// Limit is the hard one of the node's memory, and Times by how much the state
	// must be larger.
	Limit uint64
	Times int
}

// LargerThanMemory fills a state on a cluster of one node whose memory has a hard
// limit, with incremental checkpoints meanwhile: the live state and a savepoint have
// the newest value of every key. Then the node is killed and restores the state, again
// under the limit, and goes on.
func LargerThanMemory(t *testing.T, c *harness.Cluster, l LargeState) {
	feed := harness.NewFeed(t, 1, l.Keys)
	cfg := feed.Operator("large")
	cfg.StateBackend, cfg.ValueBytes, cfg.Incremental, cfg.Retained = l.Backend, l.ValueBytes, true, 1
	cfg.CheckpointMs, cfg.TimeoutMs, cfg.Directory = 5000, 120_000, c.CheckpointDir("large")
	harness.StartOperator(t, cfg, c.Addresses())
	c.WaitStatus(cfg.Job, holdfastv1.JobStatus_JOB_STATUS_RUNNING)
	begun := time.Now()
	watch := harness.WatchMemory(t, c.Pid(0))
	l.fill(c, feed, cfg.Job, l.Records)
	written := time.Since(begun)
	size := l.check(t, c, feed, cfg.Job, 0)
	path := c.Savepoint(cfg.Job, c.CheckpointDir("savepoints"))
	l.checkSavepoint(t, c, feed, path)
	peak := watch()
	l.report(t, "filled, checkpointed, read", peak, size, written)

	completed := c.Completed(cfg.Job)
	c.Restart(0)
	watch = harness.WatchMemory(t, c.Pid(0))
	begun = time.Now()
	l.fill(c, feed, cfg.Job, l.Records/50)
	again := time.Since(begun)
	size = l.check(t, c, feed, cfg.Job, completed)
	l.report(t, "killed, restored, read", watch(), size, again)
}

// fill produces records and waits for a checkpoint that has them.
func (l LargeState) fill(c *harness.Cluster, feed *harness.Feed, job string, n int64) {
	feed.Produce(n)
	end := feed.Heads()[0]
	var at int64
	for at < end {
		c.Until("the job to go on", func() error {
			now := positions(harness.Completed(c.Checkpoints(job)))[0]
			if now <= at {
				return errorf("the newest checkpoint is at offset %d of %d", now, end)
			}
			at = now
			return nil
		})
	}
}

// check compares every value of the live state, and tells its size.
func (l LargeState) check(t *testing.T, c *harness.Cluster, feed *harness.Feed, job string, restored uint64) (size int64) {
	t.Helper()
	if st := c.MustDescribe(job).Subtasks[0]; st.RestoredCheckpoint < restored {
		t.Errorf("the attempt began from checkpoint %d, and %d was completed", st.RestoredCheckpoint, restored)
	}
	v := l.verifier(feed)
	ref := harness.StateRef{Job: job, Operator: harness.OperatorUID, State: harness.OperatorState}
	if err := c.ScanEach(0, ref, 100, v.entry); err != nil {
		t.Fatal(err)
	}
	return v.end(t, "the live state")
}

func (l LargeState) checkSavepoint(t *testing.T, c *harness.Cluster, feed *harness.Feed, path string) {
	t.Helper()
	v := l.verifier(feed)
	if err := c.SnapshotEach(0, path, harness.OperatorUID, harness.OperatorState, v.entry); err != nil {
		t.Fatal(err)
	}
	v.end(t, path)
}

func (l LargeState) report(t *testing.T, what string, p harness.Peak, size int64, took time.Duration) {
	t.Helper()
	t.Logf("%s %s: %d MiB of state under a hard limit of %d MiB; at most %d MiB counted by it, %d MiB of that resident; %s until the checkpoint that has all",
		l.Backend, what, size>>20, l.Limit>>20, p.Data>>20, p.Anonymous>>20, took.Round(time.Second))
	if p.Data == 0 || uint64(p.Data) > l.Limit {
		t.Errorf("%d bytes were counted, the limit is %d", p.Data, l.Limit)
	}
	if uint64(size) < uint64(l.Times)*l.Limit {
		t.Errorf("the state has %d bytes, fewer than %d times the limit", size, l.Times)
	}
}

// verifier compares entries that come one after the other.
type verifier struct {
	l    LargeState
	seed uint64
	want map[string]harness.RecordAt
	left map[string]bool
	size int64
}

func (l LargeState) verifier(feed *harness.Feed) *verifier {
	v := &verifier{l: l, seed: feed.Seed, want: harness.NewestOffsets(feed.Seed, feed.Heads(), feed.Keys), left: map[string]bool{}}
	for key := range v.want {
		v.left[key] = true
	}
	return v
}

func (v *verifier) entry(e *holdfastv1.StateEntry) error {
	key := string(e.Key)
	if !v.left[key] {
		return errorf("the key %q is there twice, or has no record", key)
	}
	delete(v.left, key)
	at := v.want[key]
	if !bytes.Equal(e.Value, harness.RecordValue(v.seed, at.Partition, at.Offset, v.l.ValueBytes)) {
		return errorf("the value of key %q is not that of its newest record, at offset %d", key, at.Offset)
	}
	v.size += int64(len(e.Key) + len(e.Value))
	return nil
}

func (v *verifier) end(t *testing.T, what string) int64 {
	t.Helper()
	if len(v.left) > 0 {
		t.Errorf("%s lacks %d of %d keys", what, len(v.left), len(v.want))
	}
	t.Logf("%s: %d keys, each with the value of its newest record", what, len(v.want))
	return v.size
}
