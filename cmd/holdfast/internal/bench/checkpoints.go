package bench

import (
	"context"
	"fmt"
	"path/filepath"
	"sync/atomic"
	"time"

	"github.com/holdfast-io/holdfast/cmd/holdfast/internal/bug"
	"github.com/holdfast-io/holdfast/cmd/holdfast/internal/jobs"
	holdfastv1 "github.com/holdfast-io/holdfast/proto/holdfast/v1"
)

// CheckpointsConfig says how many checkpoints to take.
type CheckpointsConfig struct {
	Checkpoints int
	// Jobs share them, each with one after the other.
	Jobs int
	// Rows is the number of rows of the curve.
	Rows int
	// Fsync waits for the disk, as nodes do. Without it many checkpoints take
	// minutes instead of hours, and what they leave behind is the same.
	Fsync bool
}

// CheckpointsReport is what many checkpoints leave behind on a node.
type CheckpointsReport struct {
	Machine   Machine         `json:"machine"`
	Fsync     bool            `json:"fsync"`
	Jobs      int             `json:"jobs"`
	PerSecond float64         `json:"checkpoints_per_second"`
	Curve     []CheckpointRow `json:"curve"`
	// Bounds has what each column of the curve was compared with.
	Bounds []Bound `json:"bounds"`
	// Level tells that the run was long enough to see whether the columns rise.
	Level bool `json:"level_checked"`
}

// CheckpointRow is the size of everything after so many checkpoints: the largest
// of the three nodes.
type CheckpointRow struct {
	Checkpoints uint64  `json:"checkpoints"`
	Seconds     float64 `json:"seconds"`
	LogIndex    uint64  `json:"log_index"`
	// LogBytes is raft.db, which is reused and does not shrink.
	LogBytes uint64 `json:"log_bytes"`
	// SnapshotFiles and SnapshotBytes are the snapshots on disk.
	SnapshotFiles uint64 `json:"snapshots"`
	SnapshotBytes uint64 `json:"snapshots_bytes"`
	// RecordBytes is the coordinator's state.
	RecordBytes uint64 `json:"records_bytes"`
	// Versions are those of the keyed state that checkpoints keep, and StateBytes the
	// memory that it takes with them.
	Versions   uint64 `json:"versions"`
	StateBytes uint64 `json:"state_bytes"`
	// DirectoryBytes is the whole data directory.
	DirectoryBytes uint64 `json:"directory_bytes"`
	Memory
}

// changesEach is the number of keys that are changed before each checkpoint.
const changesEach = 10

// checkpointKeys is the number of keys that the changes go round.
const checkpointKeys = 1000

// Checkpoints takes one checkpoint after the other, as fast as they complete, of
// jobs whose state changes before each.
func Checkpoints(ctx context.Context, cfg Config, f CheckpointsConfig) (r *CheckpointsReport, err error) {
	r = &CheckpointsReport{Machine: ThisMachine(), Fsync: f.Fsync, Jobs: f.Jobs}
	var flags []string
	if !f.Fsync {
		flags = append(flags, "--debug-no-fsync")
	}
	c, err := open(ctx, cfg, flags...)
	if err != nil {
		return nil, err
	}
	defer closing(c, &err)
	leader, _, err := c.nodes(ctx)
	if err != nil {
		return nil, err
	}
	// On the leader, where a checkpoint is complete soonest. The interval is so
	// long that all are triggered by hand.
	var slots []*slot
	for range f.Jobs {
		s, err := c.openSlot(ctx, leader.address, 24*time.Hour)
		if err != nil {
			return nil, err
		}
		defer s.close()
		slots = append(slots, s)
	}
	began := time.Now()
	if err := c.takeAll(ctx, slots, f, began, r); err != nil {
		return nil, err
	}
	r.PerSecond = float64(f.Checkpoints) / time.Since(began).Seconds()
	r.judge()
	for i, s := range slots {
		if err := s.checkCheckpoint(ctx, uint64(share(f, i))); err != nil {
			return nil, err
		}
	}
	return r, nil
}

// share is the number of checkpoints of the i-th job.
func share(f CheckpointsConfig, i int) int {
	n := f.Checkpoints / f.Jobs
	if i < f.Checkpoints%f.Jobs {
		n++
	}
	return n
}

// takeAll runs all jobs and reads a row whenever enough checkpoints are complete.
func (c *cluster) takeAll(ctx context.Context, slots []*slot, f CheckpointsConfig, began time.Time, r *CheckpointsReport) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	var done atomic.Uint64
	ended := make(chan error, len(slots))
	for i, s := range slots {
		bug.Go(func() { ended <- s.takeInARow(ctx, share(f, i), &done) })
	}
	every := uint64(max(f.Checkpoints/f.Rows, 1))
	tick := time.NewTicker(10 * time.Millisecond)
	defer tick.Stop()
	for running, mark := len(slots), uint64(1); ; {
		select {
		case err := <-ended:
			if err != nil {
				return err
			}
			running--
		case <-tick.C:
		}
		n := done.Load()
		c.cfg.Note(fmt.Sprintf("%d of %d checkpoints", n, f.Checkpoints))
		if n >= mark || running == 0 {
			row, err := c.row(ctx, n, began)
			if err != nil {
				return err
			}
			r.Curve = append(r.Curve, row)
			mark = (n/every + 1) * every
		}
		if running == 0 {
			return nil
		}
	}
}

// takeInARow takes n checkpoints of one job.
func (s *slot) takeInARow(ctx context.Context, n int, done *atomic.Uint64) error {
	for id := range uint64(n) {
		if err := s.checkpoint(ctx, id+1); err != nil {
			return fmt.Errorf("checkpoint %d: %w", id+1, err)
		}
		done.Add(1)
	}
	return nil
}

// checkpoint changes some keys, triggers checkpoint n, answers its barrier and
// waits until it is complete.
func (s *slot) checkpoint(ctx context.Context, n uint64) error {
	if _, err := s.addOne(run(int(n)*changesEach%checkpointKeys, changesEach)); err != nil {
		return err
	}
	s.position++
	request := &holdfastv1.TriggerCheckpointRequest{Job: s.job, RequestId: fmt.Sprint(n)}
	triggered, err := s.jobs.TriggerCheckpoint(ctx, request)
	if err != nil { // the leader has changed, perhaps; the same request again is safe
		triggered, err = jobs.Call(ctx, s.c.calls, func(ctx context.Context, j holdfastv1.JobServiceClient) (*holdfastv1.TriggerCheckpointResponse, error) {
			return j.TriggerCheckpoint(ctx, request)
		})
	}
	if err != nil {
		return err
	}
	if triggered.CheckpointId != n {
		return fmt.Errorf("it has the id %d", triggered.CheckpointId)
	}
	for {
		m, err := next(s, s.control)
		if err != nil {
			return err
		}
		if err := s.answer(m); err != nil {
			return err
		}
		if a := m.GetCheckpointAborted(); a != nil {
			return fmt.Errorf("it was aborted: %s", a.GetReason().GetMessage())
		}
		if m.GetCheckpointComplete().GetCheckpointId() == n {
			return s.acked(s.seq)
		}
	}
}

// checkCheckpoint compares the state and the position of checkpoint n with what
// was changed before it.
func (s *slot) checkCheckpoint(ctx context.Context, n uint64) error {
	list, err := s.c.checkpoints(ctx, s.job)
	if err != nil {
		return err
	}
	newest := list.GetCheckpoints()[0]
	if newest.Id != n || list.Counts.Completed != n || newest.Acks[0].Positions[0].NextOffset != s.position {
		return fmt.Errorf("the checkpoints are wrong: newest %d, %d completed, position %d; it must be %d, %d, %d",
			newest.Id, list.Counts.Completed, newest.Acks[0].Positions[0].NextOffset, n, n, s.position)
	}
	return s.check(ctx)
}

// row reads the sizes of all nodes.
func (c *cluster) row(ctx context.Context, n uint64, began time.Time) (row CheckpointRow, err error) {
	row = CheckpointRow{Checkpoints: n, Seconds: time.Since(began).Seconds()}
	leader, others, err := c.nodes(ctx)
	if err != nil {
		return row, err
	}
	for _, x := range append([]node{leader}, others...) {
		if err := c.widen(ctx, &row, x); err != nil {
			return row, err
		}
	}
	return row, nil
}

// widen raises a row to the sizes of one node.
func (c *cluster) widen(ctx context.Context, row *CheckpointRow, x node) error {
	m, err := memoryOf(x.pid)
	if err != nil {
		return err
	}
	row.Resident, row.Peak = max(row.Resident, m.Resident), max(row.Peak, m.Peak)
	row.Anonymous, row.File = max(row.Anonymous, m.Anonymous), max(row.File, m.File)
	for name, to := range map[string]*uint64{
		"holdfast_raft_last_index": &row.LogIndex, "holdfast_coordinator_records_bytes": &row.RecordBytes,
		"holdfast_keyed_frozen_versions": &row.Versions, "holdfast_keyed_memory_bytes": &row.StateBytes,
	} {
		v, err := metricOf(ctx, x.metrics, name)
		if err != nil {
			return err
		}
		*to = max(*to, uint64(v))
	}
	dir := c.dataDir(x.name)
	row.LogBytes = max(row.LogBytes, bytesOf(filepath.Join(dir, "raft.db")))
	snapshots := filepath.Join(dir, "snapshots")
	row.SnapshotFiles = max(row.SnapshotFiles, entriesOf(snapshots))
	row.SnapshotBytes = max(row.SnapshotBytes, bytesBelow(snapshots))
	row.DirectoryBytes = max(row.DirectoryBytes, bytesBelow(dir))
	return nil
}
