package scenario

import (
	"context"
	"encoding/binary"
	"fmt"
	"slices"
	"strings"
	"testing"

	"google.golang.org/grpc"
	"google.golang.org/protobuf/proto"

	"github.com/holdfast-io/holdfast/integration/harness"
	holdfastv1 "github.com/holdfast-io/holdfast/proto/holdfast/v1"
)

// OperatorStateHop is one job of OperatorStates.
type OperatorStateHop struct {
	Backend     string
	Parallelism int
}

// OperatorStates runs a job with operator state of each mode, kills its operator and
// the leader, stops it with a savepoint, and begins the next one from there, of another
// backend and parallelism. In each snapshot operator state, keyed state and positions
// are one cut: list elements of all subtasks together are those of the records before
// it, each once; every subtask that is restored gets the union of all, and every
// subtask has the same map (invariants 2 and 10).
func OperatorStates(t *testing.T, c *harness.Cluster, hops ...OperatorStateHop) {
	const partitions = 4
	feed := harness.NewFeed(t, partitions, 40)
	stop := feed.Flow(5, traffic)
	var env []string
	kept, last := 0, ""
	for i, h := range hops {
		j := &operatorStateJob{t: t, c: c, feed: feed, hop: h, generation: i + 1, env: env}
		j.start()
		if i > 0 {
			j.checkDealt(kept, h.Parallelism != hops[i-1].Parallelism)
		}
		j.killOperator()
		j.killLeader()
		if i == len(hops)-1 {
			stop()
			feed.CheckFinal(c, j.cfg.Job, nil)
		}
		path := c.StopWithSavepoint(j.cfg.Job, c.CheckpointDir("savepoints"), false)
		kept = j.check(path)
		c.WaitStatus(j.cfg.Job, holdfastv1.JobStatus_JOB_STATUS_FINISHED)
		env = []string{"HOLDFAST_EXECUTION_STATE_RECOVERY_PATH=" + path}
		last = path
	}
	changedOperatorStates(t, c, c.MustDescribe(fmt.Sprintf("generation-%d", len(hops))).Spec, last)
	c.VerifyReplicas()
}

// operatorStateJob is a job of OperatorStates.
type operatorStateJob struct {
	t          *testing.T
	c          *harness.Cluster
	feed       *harness.Feed
	hop        OperatorStateHop
	generation int
	env        []string
	cfg        harness.OperatorConfig
	running    *harness.Operator
}

func (j *operatorStateJob) start() {
	j.cfg = j.feed.Operator(fmt.Sprintf("generation-%d", j.generation))
	j.cfg.Parallelism, j.cfg.Slots, j.cfg.CoPartitioned = j.hop.Parallelism, j.hop.Parallelism, true
	j.cfg.CheckpointMs, j.cfg.TimeoutMs, j.cfg.Generation, j.cfg.Tolerable = 100, 5000, j.generation, 1000
	if j.hop.Backend != "memory" {
		// All of it is in files.
		j.cfg.StateBackend, j.cfg.Directory, j.cfg.InlineBytes = j.hop.Backend, j.c.CheckpointDir("jobs"), 1
	}
	j.running = harness.StartOperator(j.t, j.cfg, j.c.Addresses(), j.env...)
	j.c.WaitStatus(j.cfg.Job, holdfastv1.JobStatus_JOB_STATUS_RUNNING)
	if j.generation > 1 {
		for _, s := range j.c.MustDescribe(j.cfg.Job).Subtasks {
			if s.RestoredCheckpoint == 0 {
				j.t.Errorf("subtask %d of %s began from empty", s.Index, j.cfg.Job)
			}
		}
	}
	j.c.WaitCheckpoint(j.cfg.Job, 0)
	j.c.WaitCounted(j.cfg.Job, 50)
}

// checkDealt looks whether the elements that the savepoint had were all dealt out, and
// evenly where the parallelism changed: else every subtask keeps its own.
func (j *operatorStateJob) checkDealt(kept int, evenly bool) {
	dealt := map[int]int{}
	for line := range strings.Lines(j.running.Output()) {
		var attempt uint64
		var subtask, n int
		if _, err := fmt.Sscanf(line, harness.RestoredLine+" %d %d %d", &attempt, &subtask, &n); err != nil {
			continue
		}
		if _, later := dealt[subtask]; !later {
			dealt[subtask] = n
		}
	}
	total := 0
	for _, n := range dealt {
		total += n
		if each := kept / j.hop.Parallelism; evenly && n != each && n != each+1 {
			j.t.Errorf("%d elements were dealt to %d subtasks as %v", kept, j.hop.Parallelism, dealt)
		}
	}
	if total != kept || len(dealt) != j.hop.Parallelism {
		j.t.Errorf("%d elements were dealt to %d subtasks as %v", kept, j.hop.Parallelism, dealt)
	}
}

// killOperator kills the process behind a checkpoint, with more of everything beyond
// the cut, which the next one must not see.
func (j *operatorStateJob) killOperator() {
	before := j.c.MustDescribe(j.cfg.Job).Subtasks[0].Attempt
	j.c.WaitCounted(j.cfg.Job, 20)
	j.running.Kill()
	j.running = harness.StartOperator(j.t, j.cfg, j.c.Addresses(), j.env...)
	waitAttempt(j.c, j.cfg.Job, before)
	j.c.WaitStatus(j.cfg.Job, holdfastv1.JobStatus_JOB_STATUS_RUNNING)
	j.c.WaitCounted(j.cfg.Job, 50)
	j.check(j.c.Savepoint(j.cfg.Job, j.c.CheckpointDir("savepoints")))
}

func (j *operatorStateJob) killLeader() {
	old := j.c.Leader()
	j.c.Kill(old.Index)
	j.c.WaitForNewLeader(old)
	j.c.Start(old.Index)
	j.c.WaitCaughtUp(old.Index)
	j.c.WaitStatus(j.cfg.Job, holdfastv1.JobStatus_JOB_STATUS_RUNNING)
	j.c.WaitCounted(j.cfg.Job, 50)
	j.check(j.c.Savepoint(j.cfg.Job, j.c.CheckpointDir("savepoints")))
}

// check compares a savepoint with the records up to its positions, through every node,
// and tells how many elements its list has.
func (j *operatorStateJob) check(path string) (kept int) {
	j.t.Helper()
	d, err := j.c.DescribeSnapshot(path)
	if err != nil {
		j.t.Fatal(err)
	}
	cut := cutOf(d, j.feed.Partitions)
	for n := range j.c.Size() {
		if err := j.feed.CheckOperatorState(j.c, n, path, cut, j.generation, j.hop.Parallelism); err != nil {
			j.t.Fatalf("the savepoint %s of %v at %v: %v", path, j.hop, cut, err)
		}
		counts, err := j.c.SnapshotCounts(n, path, harness.OperatorUID, harness.OperatorState)
		if err != nil {
			j.t.Fatal(err)
		}
		if diff := harness.Difference(counts, harness.RecordCounts(j.feed.Seed, nil, cut, j.feed.Keys)); diff != "" {
			j.t.Fatalf("the savepoint %s of %v at %v: %s", path, j.hop, cut, diff)
		}
	}
	verifyClean(j.t, j.c, path)
	for _, end := range cut {
		kept += int((end + harness.KeptEvery - 1) / harness.KeptEvery)
	}
	j.t.Logf("%s on %s at parallelism %d: %d list elements, the union of %d partitions and %d maps are those of the cut %v",
		j.cfg.Job, j.hop.Backend, j.hop.Parallelism, kept, len(cut), j.hop.Parallelism, cut)
	return kept
}

// changedOperatorStates submits changed programs from a savepoint: what cannot be read as
// it is declared is refused with the state named, and what nobody declares unless it may
// be left behind.
func changedOperatorStates(t *testing.T, c *harness.Cluster, spec *holdfastv1.JobSpec, path string) {
	for _, x := range []struct {
		name, reason, message string
		change                func(s *holdfastv1.JobSpec, op *holdfastv1.Operator)
	}{
		{"another mode", "STATE_INCOMPATIBLE", `operator state "kept" of operator "keeper" has in the snapshot the mode SPLIT_DISTRIBUTE, and the job declares UNION`,
			func(_ *holdfastv1.JobSpec, op *holdfastv1.Operator) {
				op.OperatorStates[0].Mode = holdfastv1.OperatorStateMode_OPERATOR_STATE_MODE_UNION
			}},
		{"another type", "STATE_INCOMPATIBLE", `operator state "rules" of operator "keeper" has in the snapshot the type "int64", and the job declares "string"`,
			func(_ *holdfastv1.JobSpec, op *holdfastv1.Operator) { op.OperatorStates[2].Type = "string" }},
		{"keyed now", "STATE_INCOMPATIBLE", `operator state "kept" of operator "keeper" has in the snapshot operator state, and the job declares a keyed state`,
			func(_ *holdfastv1.JobSpec, op *holdfastv1.Operator) {
				op.OperatorStates = op.OperatorStates[1:]
				op.States = []*holdfastv1.StateDescriptor{{Name: harness.SplitState, Kind: holdfastv1.StateKind_STATE_KIND_LIST, Type: "string"}}
				op.Inputs[0].Partitioning = holdfastv1.Partitioning_PARTITIONING_CO_PARTITIONED
			}},
		{"undeclared", "NON_RESTORED_STATE", `the operator state "processed" of operator "keeper", which the job does not declare`,
			func(_ *holdfastv1.JobSpec, op *holdfastv1.Operator) {
				op.OperatorStates = append(op.OperatorStates[:1:1], op.OperatorStates[2])
			}},
		{"no such operator", "NON_RESTORED_STATE", `operator "keeper", which the job does not have`,
			func(s *holdfastv1.JobSpec, op *holdfastv1.Operator) {
				op.Uid, s.Operators[2].Inputs[0].OperatorUid = "other", "other"
			}},
		{"without checkpoints", "INVALID_JOB_SPEC", "enable them (EnableCheckpointing",
			func(s *holdfastv1.JobSpec, _ *holdfastv1.Operator) { s.Checkpoint = nil }},
	} {
		s := proto.CloneOf(spec)
		s.Name = "changed " + x.name
		x.change(s, s.Operators[1])
		_, err := c.SubmitFrom(s, &holdfastv1.RestoreFrom{Path: path})
		refusedWith(t, x.name, err, x.reason, x.message)
		if x.reason != "NON_RESTORED_STATE" {
			continue
		}
		id, err := c.SubmitFrom(s, &holdfastv1.RestoreFrom{Path: path, AllowNonRestoredState: true})
		if err == nil {
			err = c.Cancel(id)
		}
		if err != nil {
			t.Errorf("%s, and allowed: %v", x.name, err)
		}
	}
}

// OperatorStateTooLarge lets the operator state of a job grow beyond its bound: each
// checkpoint from then on is declined, with the bound and the remedy, and the job goes
// on, but it does not begin anew without what it had.
func OperatorStateTooLarge(t *testing.T, c *harness.Cluster, backend string, elementBytes int) {
	feed := harness.NewFeed(t, 1, 10)
	feed.Flow(2, traffic)
	cfg := feed.Operator("growing")
	cfg.CheckpointMs, cfg.Generation, cfg.Tolerable, cfg.OperatorStateBytes = 50, 1, 1000, elementBytes
	if backend != "memory" {
		cfg.StateBackend, cfg.Directory = backend, c.CheckpointDir("growing")
	}
	harness.StartOperator(t, cfg, c.Addresses())
	c.WaitStatus("growing", holdfastv1.JobStatus_JOB_STATUS_RUNNING)
	n := c.WaitCheckpoint("growing", 0).Id
	harness.Until(t, "a checkpoint to be declined", func() error {
		for _, k := range c.Checkpoints("growing").Checkpoints {
			if k.Status != holdfastv1.CheckpointStatus_CHECKPOINT_STATUS_ABORTED || k.Id < n {
				continue
			}
			if k.Reason.GetReason() != holdfastv1.ErrorReason_ERROR_REASON_STATE_TOO_LARGE ||
				!strings.Contains(k.Reason.GetMessage(), "are allowed") || !strings.Contains(k.Reason.GetMessage(), "keep less") {
				return harness.Stop("checkpoint %d is aborted: %v", k.Id, k.Reason)
			}
			t.Logf("checkpoint %d: %s", k.Id, k.Reason.Message)
			return nil
		}
		return errorf("there is none yet")
	})
	c.WaitCounted("growing", 50)
	d := c.MustDescribe("growing")
	if d.Summary.Status != holdfastv1.JobStatus_JOB_STATUS_RUNNING || d.Summary.Restarts != 0 {
		t.Errorf("the job is %v", d.Summary)
	}
	c.VerifyReplicas()
}

// OperatorStateReads reads the list of a checkpoint of a running job through every node,
// by pages and by place. The live one is in another process, and whoever asks for it is
// told.
func OperatorStateReads(t *testing.T, c *harness.Cluster, backend string) {
	feed := harness.NewFeed(t, 2, 10)
	feed.Produce(1000)
	cfg := feed.Operator("read")
	cfg.CheckpointMs, cfg.Generation, cfg.Parallelism, cfg.Slots, cfg.CoPartitioned = 3_600_000, 1, 2, 2, true
	if backend != "memory" {
		cfg.StateBackend, cfg.Directory = backend, c.CheckpointDir("read")
	}
	harness.StartOperator(t, cfg, c.Addresses())
	c.WaitStatus("read", holdfastv1.JobStatus_JOB_STATUS_RUNNING)
	c.WaitCounted("read", 1)
	ref := harness.StateRef{Job: "read", Operator: harness.OperatorStateUID, State: harness.SplitState}
	_, err := c.Scan(0, ref, 0)
	refusedWith(t, "live operator state", err, "STATE_NOT_FOUND", "is in the memory of the operator's process; read it of a checkpoint")
	k := c.ReadCheckpoint("read", mustTrigger(t, c, "read")-1)
	ref.Checkpoint = k.ID
	for n := range c.Size() {
		c.WaitCaughtUp(n)
		readOperatorState(t, c, n, ref, harness.KeptRecords(k.Positions))
	}
}

func readOperatorState(t *testing.T, c *harness.Cluster, node int, ref harness.StateRef, want []string) {
	t.Helper()
	var got []string
	first := 0
	if err := c.ScanEach(node, ref, 7, func(e *holdfastv1.StateEntry) error {
		if binary.BigEndian.Uint64(e.Key) == 0 {
			first++
		}
		got = append(got, string(e.Value))
		return nil
	}); err != nil {
		t.Fatal(err)
	}
	slices.Sort(got)
	if !slices.Equal(got, want) {
		t.Fatalf("checkpoint %d has %d elements, want %d", ref.Checkpoint, len(got), len(want))
	}
	if err := c.OnWithin(node, harness.Patience(), func(ctx context.Context, conn *grpc.ClientConn) error {
		r, err := holdfastv1.NewStateServiceClient(conn).Get(ctx, &holdfastv1.GetRequest{
			State: &holdfastv1.StateSelector{Job: ref.Job, OperatorUid: ref.Operator, StateName: ref.State, CheckpointId: ref.Checkpoint},
			Keys:  [][]byte{make([]byte, 8), []byte("no place")},
		})
		if err == nil && (len(r.Entries) != first+1 || r.Entries[first].Found || r.OperatorState.GetName() != ref.State) {
			return errorf("the first places of %d subtasks are %v", first, r)
		}
		return err
	}); err != nil {
		t.Fatal(err)
	}
}
