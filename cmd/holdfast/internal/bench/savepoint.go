package bench

import (
	"context"
	"encoding/binary"
	"fmt"
	"os"
	"time"

	"github.com/holdfast-io/holdfast/cmd/holdfast/internal/bug"
	"github.com/holdfast-io/holdfast/cmd/holdfast/internal/jobs"
	holdfastv1 "github.com/holdfast-io/holdfast/proto/holdfast/v1"
	"github.com/holdfast-io/holdfast/stateserver/snapshots"
)

// SavepointConfig says how much state to write.
type SavepointConfig struct {
	Keys    int
	Backend string
	// CacheBytes is what rocksdb takes.
	CacheBytes int64
}

// SavepointReport is what a savepoint takes of the one node that hosts the state and
// writes it.
type SavepointReport struct {
	Machine Machine `json:"machine"`
	Backend string  `json:"backend"`
	Keys    int     `json:"keys"`
	// Before is the anonymous memory of the node before the savepoint, Peak the most
	// while it was written; what it holds beside the state is their difference.
	Before uint64 `json:"before_anonymous_bytes"`
	Peak   uint64 `json:"peak_anonymous_bytes"`
	Growth int64  `json:"growth_bytes"`
	// FileBytes is the size of the savepoint, Seconds the time to write it, of the
	// checkpoint below it too.
	FileBytes uint64  `json:"file_bytes"`
	Seconds   float64 `json:"seconds"`
	FillRate  float64 `json:"filled_keys_per_second"`
}

// Savepoint fills a state, writes a savepoint of it, and compares every entry.
func Savepoint(ctx context.Context, cfg Config, f SavepointConfig) (r *SavepointReport, err error) {
	r = &SavepointReport{Machine: ThisMachine(), Backend: f.Backend, Keys: f.Keys}
	c, err := openSized(ctx, cfg, alone, "--storage-allowed-roots", "file://"+roomFlag+"/checkpoints",
		"--state-cache-size", fmt.Sprintf("%d bytes", f.CacheBytes))
	if err != nil {
		return nil, err
	}
	defer closing(c, &err)
	if err := os.Mkdir(c.room(), 0o700); err != nil {
		return nil, err
	}
	host, _, err := c.nodes(ctx)
	if err != nil {
		return nil, err
	}
	job := hostSpec(f.Backend)
	job.Checkpoint = &holdfastv1.CheckpointConfig{IntervalMs: uint64(time.Hour.Milliseconds()), Incremental: true, Directory: "file://" + c.room()}
	l, err := c.openLane(ctx, host.address, job)
	if err != nil {
		return nil, err
	}
	defer l.close()
	o := newLoad(f.Keys)
	cfg.Note("writing every key")
	o.all()
	began := time.Now()
	if err := l.run(o); err != nil {
		return nil, err
	}
	r.FillRate = float64(f.Keys) / time.Since(began).Seconds()
	path, err := c.measureSavepoint(ctx, host, l, r)
	if err != nil {
		return nil, err
	}
	cfg.Note("comparing every entry of the savepoint")
	return r, checkSavepoint(ctx, c.room(), path, o)
}

// measureSavepoint triggers it and answers its barrier.
func (c *cluster) measureSavepoint(ctx context.Context, host node, l *lane, r *SavepointReport) (path string, err error) {
	before, err := memoryOf(host.pid)
	if err != nil {
		return "", err
	}
	c.cfg.Note("writing a savepoint")
	began := time.Now()
	type outcome struct {
		done *holdfastv1.Checkpoint
		err  error
	}
	ended := make(chan outcome, 1)
	bug.Go(func() {
		done, err := jobs.Operate(ctx, c.calls, func(ctx context.Context, j holdfastv1.JobServiceClient, id string) (jobs.Begun, error) {
			return j.TriggerSavepoint(ctx, &holdfastv1.TriggerSavepointRequest{Job: l.job, RequestId: id, Directory: "file://" + c.room() + "/savepoints"})
		}, nil)
		ended <- outcome{done, err}
	})
	if err := l.answerBarrier(); err != nil {
		return "", err
	}
	peak := before.Anonymous
	for {
		select {
		case o := <-ended:
			if o.err != nil {
				return "", fmt.Errorf("the savepoint of the measurement: %w", o.err)
			}
			r.Seconds = time.Since(began).Seconds()
			r.Before, r.Peak, r.Growth = before.Anonymous, peak, int64(peak)-int64(before.Anonymous)
			r.FileBytes = bytesBelow(c.room() + "/savepoints")
			return o.done.GetSavepointPath(), nil
		case <-time.After(10 * time.Millisecond):
		}
		m, err := memoryOf(host.pid)
		if err != nil {
			return "", err
		}
		peak = max(peak, m.Anonymous)
	}
}

// answerBarrier waits for the next barrier and is ready at once.
func (l *lane) answerBarrier() error {
	for had := l.barrier; l.barrier == had; {
		if _, err := l.receive(); err != nil {
			return err
		}
	}
	if err := l.send(&holdfastv1.OperatorMessage{Message: &holdfastv1.OperatorMessage_BarrierPassed{BarrierPassed: &holdfastv1.BarrierPassed{
		FencingToken: l.token, CheckpointId: l.barrier}}}); err != nil {
		return err
	}
	l.seq++
	if err := l.send(&holdfastv1.OperatorMessage{Message: &holdfastv1.OperatorMessage_CheckpointReady{CheckpointReady: &holdfastv1.CheckpointReady{
		FencingToken: l.token, Seq: l.seq, CheckpointId: l.barrier, Positions: []*holdfastv1.Position{{Topic: topic, LeaderEpoch: -1}}}}}); err != nil {
		return err
	}
	return l.settle(1)
}

// checkSavepoint reads every entry of a savepoint.
func checkSavepoint(ctx context.Context, room, path string, o *load) (err error) {
	s, registry, err := openStorage(ctx, room)
	if err != nil {
		return err
	}
	defer s.Close()
	r, err := snapshots.Open(ctx, registry, nil, path)
	if err != nil {
		return fmt.Errorf("open the savepoint of the measurement: %w", err)
	}
	defer r.Close()
	es := r.Entries(ctx, []snapshots.Wanted{{OperatorUID: countUID, StateName: stateName}}, 0, 1<<15)
	defer es.Close()
	n := 0
	for ; es.Next(); n++ {
		e := es.Entry()
		if len(e.Key) != keyBytes || len(e.Value) != valueBytes || binary.BigEndian.Uint64(e.Key[8:]) >= uint64(len(o.want)) {
			return fmt.Errorf("the savepoint has an entry of %d and %d bytes that was not written", len(e.Key), len(e.Value))
		}
		if err := o.check(uint32(binary.BigEndian.Uint64(e.Key[8:])), binary.LittleEndian.Uint64(e.Value)); err != nil {
			return err
		}
	}
	if err := es.Err(); err != nil {
		return fmt.Errorf("read the savepoint of the measurement: %w", err)
	}
	if n != len(o.want) {
		return fmt.Errorf("the savepoint has %d entries, and there must be %d", n, len(o.want))
	}
	return nil
}
