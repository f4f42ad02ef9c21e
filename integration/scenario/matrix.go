package scenario

import (
	"fmt"
	"strings"
	"testing"
	"text/tabwriter"
	"time"

	"github.com/holdfast-io/holdfast/integration/harness"
	holdfastv1 "github.com/holdfast-io/holdfast/proto/holdfast/v1"
)

// Cell is one combination of state backend and checkpoint storage. Directory "" is
// the storage jobmanager.
type Cell struct{ Backend, Storage, Directory string }

// Victim is what a round of the matrix kills.
type Victim string

// The victims. Host and leader are two nodes, except for the last.
const (
	OperatorVictim      Victim = "operator"
	HostVictim          Victim = "host"
	LeaderVictim        Victim = "leader"
	HostAndLeaderVictim Victim = "host and leader"
)

// Outcome is what a kill did to the counts, by the oracle, and how long it took from
// the SIGKILL to the first completed checkpoint with a record that nobody had
// processed before.
type Outcome struct {
	Cell
	Victim       Victim
	Records      int64
	Lost, Double int64
	Gap          time.Duration
}

// MatrixCell runs the counter with its state and its checkpoints where the cell says,
// and kills each of the victims, under traffic: after each a checkpoint behind it
// has every record once, and so have the state at the end and the checkpoint that the
// job leaves in the directory (invariants 1 to 4, 10 and 12).
func MatrixCell(t *testing.T, c *harness.Cluster, cell Cell, victims ...Victim) (out []Outcome) {
	m := startCell(t, c, cell)
	for _, v := range victims {
		out = append(out, m.round(v))
	}
	m.stop()
	n := harness.Sum(m.feed.CheckFinal(c, m.cfg.Job, nil))
	t.Logf("%s on %s: %d records counted exactly once; %s", cell.Backend, cell.Storage, n, m.cancel())
	return out
}

type cellRun struct {
	t         *testing.T
	c         *harness.Cluster
	cell      Cell
	feed      *harness.Feed
	stop      func()
	cfg       harness.OperatorConfig
	operators []*harness.Operator // those that were killed, too
}

func startCell(t *testing.T, c *harness.Cluster, cell Cell, tune ...func(*harness.OperatorConfig)) *cellRun {
	m := &cellRun{t: t, c: c, cell: cell, feed: harness.NewFeed(t, 1, 100)}
	m.stop = m.feed.Flow(10, 2*traffic)
	m.cfg = m.feed.Operator(cell.Backend + "-" + cell.Storage)
	m.cfg.CheckpointMs, m.cfg.HeadFile, m.cfg.StateBackend, m.cfg.Directory, m.cfg.Incremental = 100, true, cell.Backend, cell.Directory, true
	m.cfg.InlineBytes, m.cfg.Retain = 1, cell.Directory != ""
	for _, f := range tune {
		f(&m.cfg)
	}
	m.add()
	c.WaitStatus(m.cfg.Job, holdfastv1.JobStatus_JOB_STATUS_RUNNING)
	c.WaitCheckpoint(m.cfg.Job, 0)
	return m
}

// cancel ends the job, and reads what it leaves.
func (m *cellRun) cancel() string {
	m.t.Helper()
	id := m.c.MustDescribe(m.cfg.Job).Summary.JobId
	if err := m.c.Cancel(id); err != nil {
		m.t.Fatalf("cancel %s: %v", m.cfg.Job, err)
	}
	if m.cell.Directory == "" {
		return "no directory"
	}
	k := m.c.WaitExported(id, m.c.Completed(id)-1)
	problems, done, err := m.c.VerifySnapshot(m.c.Leader().Index, k.ExternalPath)
	if err != nil || len(problems) > 0 || done.GetFiles() == 0 {
		m.t.Fatalf("verification of %s: %v, %v, %v", k.ExternalPath, done, problems, err)
	}
	got, err := m.c.SnapshotCounts(m.c.Leader().Index, k.ExternalPath, harness.OperatorUID, harness.OperatorState)
	if err != nil {
		m.t.Fatalf("read %s: %v", k.ExternalPath, err)
	}
	if d := harness.Difference(got, harness.RecordCounts(m.feed.Seed, nil, positions(k), m.feed.Keys)); d != "" {
		m.t.Errorf("what is in %s: %s", k.ExternalPath, d)
	}
	return fmt.Sprintf("%s has %d files and is right", k.ExternalPath, done.GetFiles())
}

func positions(k *holdfastv1.Checkpoint) map[uint32]int64 {
	out := map[uint32]int64{}
	for _, a := range k.GetAcks() {
		for _, p := range a.Positions {
			out[p.Partition] = p.NextOffset
		}
	}
	return out
}

func (m *cellRun) add() {
	m.operators = append(m.operators, harness.StartOperator(m.t, m.cfg, m.c.Addresses()))
}

// round kills one victim and compares the first checkpoint with something new in it.
func (m *cellRun) round(v Victim) Outcome {
	m.t.Helper()
	kill, again := m.aim(v)
	before := m.c.MustDescribe(m.cfg.Job).Subtasks[0]
	last := m.c.Completed(m.cfg.Job)
	at := time.Now()
	kill()
	done := m.head()
	first := m.checkpointBehind(done)
	o := Outcome{Cell: m.cell, Victim: v, Gap: time.Since(at)}
	again()
	k := m.c.ReadCheckpoint(m.cfg.Job, first-1)
	want := harness.RecordCounts(m.feed.Seed, nil, k.Positions, m.feed.Keys)
	o.Records = harness.Sum(want)
	if o.Lost, o.Double = harness.Deviation(k.Counts, want); o.Lost+o.Double > 0 {
		m.t.Errorf("%s killed: checkpoint %d at %v: %s", v, k.ID, k.Positions, harness.Difference(k.Counts, want))
	}
	st := m.c.MustDescribe(m.cfg.Job).Subtasks[0]
	m.t.Logf("%s killed: attempt %d on %s, attempt %d on %s after it, from checkpoint %d; checkpoint %d, the first one after %d with a new record, has %d records",
		v, before.Attempt, before.NodeName, st.Attempt, st.NodeName, st.RestoredCheckpoint, k.ID, last, o.Records)
	if v == OperatorVictim && (st.Attempt == before.Attempt || st.RestoredCheckpoint == 0) {
		m.t.Errorf("attempt %d was killed; attempt %d began from checkpoint %d", before.Attempt, st.Attempt, st.RestoredCheckpoint)
	}
	return o
}

// aim brings the cluster to where a kill hits the victim and nothing else. again
// brings back what was killed.
func (m *cellRun) aim(v Victim) (kill, again func()) {
	c := m.c
	if v == OperatorVictim {
		m.add()
		waitStandby(c, m.cfg.Job)
		return m.killOperator, func() {}
	}
	host := c.NodeIndex(c.MustDescribe(m.cfg.Job).Subtasks[0].NodeId)
	victim := host
	switch v {
	case HostAndLeaderVictim:
		lead(m.t, c, host)
	default:
		leader := c.Leader().Index
		if leader == host {
			leader = (host + 1) % c.Size()
			lead(m.t, c, leader)
		}
		if v == LeaderVictim {
			victim = leader
		}
	}
	return func() { c.Kill(victim) }, func() {
		c.Start(victim)
		c.WaitCaughtUp(victim)
		c.WaitForAllToKnow()
	}
}

// killOperator kills the process that has the subtask.
func (m *cellRun) killOperator() {
	at := m.c.MustDescribe(m.cfg.Job).Subtasks[0].ProcessId
	for _, o := range m.operators {
		if o.ID == at {
			o.Kill()
		}
	}
}

// head is up to where anybody has processed.
func (m *cellRun) head() (n int64) {
	for _, o := range m.operators {
		n = max(n, o.Head())
	}
	return n
}

// checkpointBehind waits for a completed checkpoint with the record at an offset.
func (m *cellRun) checkpointBehind(done int64) (id uint64) {
	harness.Until(m.t, fmt.Sprintf("a checkpoint behind offset %d", done), func() error {
		r := m.c.Checkpoints(m.cfg.Job)
		k := harness.Completed(r)
		if k != nil && positions(k)[0] > done {
			id = k.Id
			return nil
		}
		return errorf("the newest completed one is %d; counts %v", k.GetId(), r.Counts)
	})
	return id
}

// MatrixTable renders outcomes.
func MatrixTable(all []Outcome) string {
	var b strings.Builder
	w := tabwriter.NewWriter(&b, 0, 0, 2, ' ', 0)
	fmt.Fprintln(w, "backend\tstorage\tkilled\trecords\tlost\tdouble\tgap")
	for _, o := range all {
		fmt.Fprintf(w, "%s\t%s\t%s\t%d\t%d\t%d\t%s\n", o.Backend, o.Storage, o.Victim, o.Records, o.Lost, o.Double, o.Gap.Round(time.Millisecond))
	}
	_ = w.Flush() // a strings.Builder takes everything
	return b.String()
}
