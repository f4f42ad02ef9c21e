package bench

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"slices"
	"strings"
	"syscall"
	"time"

	"github.com/holdfast-io/holdfast/cmd/holdfast/internal/connect"
	"github.com/holdfast-io/holdfast/cmd/holdfast/internal/jobs"
	holdfastv1 "github.com/holdfast-io/holdfast/proto/holdfast/v1"
)

// CountConfig says what to count.
type CountConfig struct {
	Keys int64
	// Interval is that of the checkpoints.
	Interval time.Duration
	// WarmUp goes before the measurement, which takes Duration.
	WarmUp, Duration time.Duration
	// Operator is the command line of the process that counts; see Counter.
	Operator []string
}

// CountReport is what one operator process counts on one slot.
type CountReport struct {
	Machine Machine `json:"machine"`
	Keys    int64   `json:"keys"`
	// RecordsPerSecond is by the clock, RecordsPerCoreSecond by the processor time
	// of the operator process.
	RecordsPerSecond     float64 `json:"records_per_second"`
	RecordsPerCoreSecond float64 `json:"records_per_core_second"`
	EntriesPerSecond     float64 `json:"log_entries_per_second"`
	CheckpointsPerSecond float64 `json:"checkpoints_per_second"`
	// Counted are the records in the checkpoint that was compared.
	Counted int64 `json:"counted_records"`
}

// Count runs the counter on a generated source in a process of its own.
func Count(ctx context.Context, cfg Config, f CountConfig) (r *CountReport, err error) {
	r = &CountReport{Machine: ThisMachine(), Keys: f.Keys}
	c, err := open(ctx, cfg)
	if err != nil {
		return nil, err
	}
	defer closing(c, &err)
	leader, _, err := c.nodes(ctx)
	if err != nil {
		return nil, err
	}
	op, err := c.startCounter(ctx, f)
	if err != nil {
		return nil, err
	}
	defer op.c.cancelJob(op.job)
	defer op.end()
	cfg.Note("the counter warms up")
	if _, err := op.line(); err != nil {
		return nil, err
	}
	before, err := c.sofar(ctx, leader, op.job)
	if err != nil {
		return nil, err
	}
	cfg.Note("counting")
	done, err := op.line()
	if err != nil {
		return nil, err
	}
	after, err := c.sofar(ctx, leader, op.job)
	if err != nil {
		return nil, err
	}
	op.end()
	cfg.Note("comparing a checkpoint with its positions")
	if r.Counted, err = c.checkCounted(ctx, op.job); err != nil {
		return nil, err
	}
	r.RecordsPerSecond, r.RecordsPerCoreSecond = done.Records/done.Seconds, done.Records/done.CPUSeconds
	r.EntriesPerSecond = float64(after.entries-before.entries) / done.Seconds
	r.CheckpointsPerSecond = float64(after.checkpoints-before.checkpoints) / done.Seconds
	return r, nil
}

// counter is the operator process.
type counter struct {
	c     *cluster
	job   string
	cmd   *exec.Cmd
	lines *bufio.Scanner
}

func (c *cluster) startCounter(ctx context.Context, f CountConfig) (*counter, error) {
	op := &counter{c: c, job: jobName()}
	args := append(append([]string(nil), f.Operator[1:]...), "--job", op.job, "--keys", fmt.Sprint(f.Keys),
		"--interval", f.Interval.String(), "--warm-up", f.WarmUp.String(), "--duration", f.Duration.String())
	op.cmd = exec.CommandContext(ctx, f.Operator[0], args...)
	op.cmd.Env = slices.Concat(os.Environ(), c.cfg.TLS.Override(), []string{"HOLDFAST_ADDRESS=" + strings.Join(c.calls.Addresses(), ",")})
	op.cmd.Stderr = os.Stderr
	out, err := op.cmd.StdoutPipe()
	if err != nil {
		return nil, err
	}
	op.lines = bufio.NewScanner(out)
	return op, op.cmd.Start()
}

// line reads what the operator says next.
func (op *counter) line() (r counterLine, err error) {
	if !op.lines.Scan() {
		return r, errors.Join(errors.New("the operator of the measurement ended early"), op.lines.Err())
	}
	if err := json.Unmarshal(op.lines.Bytes(), &r); err != nil {
		return r, fmt.Errorf("the operator of the measurement said %q: %w", op.lines.Text(), err)
	}
	return r, nil
}

// end ends the process; it may be called again.
func (op *counter) end() {
	_ = op.cmd.Process.Signal(syscall.SIGKILL) // it may have ended
	_ = op.cmd.Wait()                          // killed, as asked
}

// cancelJob ends a job of a measurement.
func (c *cluster) cancelJob(job string) {
	ctx, cancel := context.WithTimeout(context.Background(), c.cfg.Patience)
	defer cancel()
	_, _ = jobs.Call(ctx, c.calls, func(ctx context.Context, j holdfastv1.JobServiceClient) (*holdfastv1.CancelResponse, error) {
		return j.Cancel(ctx, &holdfastv1.CancelRequest{Job: job, RequestId: "bench"})
	}) // at worst a job without a program is left
}

type progress struct{ entries, checkpoints uint64 }

// sofar is how far a node's log and a job's checkpoints are.
func (c *cluster) sofar(ctx context.Context, n node, job string) (p progress, err error) {
	conn, err := c.conn(n.address)
	if err != nil {
		return p, err
	}
	d, err := connect.View(ctx, conn)
	if err != nil {
		return p, err
	}
	list, err := c.checkpoints(ctx, job)
	return progress{d.GetCommandsApplied(), list.GetCounts().GetCompleted()}, err
}

func (c *cluster) checkpoints(ctx context.Context, job string) (*holdfastv1.ListCheckpointsResponse, error) {
	return jobs.Call(ctx, c.calls, func(ctx context.Context, j holdfastv1.JobServiceClient) (*holdfastv1.ListCheckpointsResponse, error) {
		return j.ListCheckpoints(ctx, &holdfastv1.ListCheckpointsRequest{Job: job})
	})
}

// checkCounted compares the counts of a completed checkpoint with its positions:
// every record before them is counted once. The operator has ended, so its newest
// checkpoint stays.
func (c *cluster) checkCounted(ctx context.Context, job string) (int64, error) {
	list, err := c.checkpoints(ctx, job)
	if err != nil {
		return 0, err
	}
	for _, k := range list.GetCheckpoints() {
		if k.Status != holdfastv1.CheckpointStatus_CHECKPOINT_STATUS_COMPLETED {
			continue
		}
		records := int64(0)
		for _, a := range k.Acks {
			for _, p := range a.Positions {
				records += p.NextOffset
			}
		}
		counts, err := c.scan(ctx, &holdfastv1.StateSelector{Job: job, OperatorUid: counterUID, StateName: stateName, CheckpointId: k.Id})
		if err != nil {
			return 0, fmt.Errorf("read checkpoint %d of the measurement: %w", k.Id, err)
		}
		sum := int64(0)
		for _, n := range counts {
			sum += n
		}
		if sum != records {
			return 0, fmt.Errorf("the counts are wrong: checkpoint %d is after %d records and counts %d", k.Id, records, sum)
		}
		return sum, nil
	}
	return 0, errors.New("no checkpoint completed during the measurement")
}
