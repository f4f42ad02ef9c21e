package scenario

import (
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"testing"
	"text/tabwriter"

	"github.com/holdfast-io/holdfast/integration/harness"
	holdfastv1 "github.com/holdfast-io/holdfast/proto/holdfast/v1"
)

const (
	pairPartitions = 4
	pairKeys       = 150
	pairRecords    = 600 // of each partition, in the first savepoint
	pairMore       = 7   // of each partition, between two savepoints of one job
)

// Restored is a savepoint of one backend in which a job on another one began, by
// `holdfast diff`: what differs before it has processed anything, which must be
// nothing, and what differs after records whose keys are known.
type Restored struct {
	From, To            string
	Before, After       int // parallelism
	Records             int64
	States, Entries     int
	Difference          int // lines
	Changed, MustChange int // keys
}

// SavepointPair takes a savepoint of a co-partitioned job with a state of every kind
// on one backend at parallelism 1, lets a job on another backend begin from it at
// parallelism 4, and from its savepoint one on the first backend at parallelism 2. What
// a job has before it has processed anything is what it began from: `holdfast diff`
// finds no difference, and the oracle none. It does find the keys of records that come
// then, those and no other (invariants 2 and 10).
func SavepointPair(t *testing.T, c *harness.Cluster, from, to string) []Restored {
	first := startPair(t, c, pairJob{backend: from, parallelism: 1})
	first.feed.Produce(pairRecords)
	first.counted()
	there, second, path := first.goOn(to, 4, first.savepoint())
	back, third, _ := second.goOn(from, 2, path)
	third.end()
	return []Restored{there, back}
}

// pairJob is one job of a pair. The next one has the same feed.
type pairJob struct {
	t           *testing.T
	c           *harness.Cluster
	cfg         harness.OperatorConfig
	feed        *harness.Feed
	operator    *harness.Operator
	backend     string
	parallelism int
}

func startPair(t *testing.T, c *harness.Cluster, j pairJob, env ...string) pairJob {
	t.Helper()
	j.t, j.c = t, c
	if j.feed == nil {
		j.feed = harness.NewFeed(t, pairPartitions, pairKeys)
	}
	j.cfg = j.feed.Operator(harness.RandomName(fmt.Sprintf("%s-%d", j.backend, j.parallelism)))
	j.cfg.Kinds, j.cfg.Parallelism, j.cfg.Slots, j.cfg.CoPartitioned = true, j.parallelism, j.parallelism, true
	j.cfg.CheckpointMs, j.cfg.StateBackend, j.cfg.InlineBytes = 100, j.backend, 1
	j.cfg.Directory = c.CheckpointDir("pairs")
	j.operator = harness.StartOperator(t, j.cfg, c.Addresses(), env...)
	c.WaitStatus(j.cfg.Job, holdfastv1.JobStatus_JOB_STATUS_RUNNING)
	return j
}

// counted waits until every state has the whole feed, by the oracle.
func (j pairJob) counted() {
	j.t.Helper()
	j.feed.CheckFinal(j.c, j.cfg.Job, nil)
	harness.Until(j.t, "every state of "+j.cfg.Job, func() error {
		return j.feed.CheckKinds(j.c, j.cfg.Job, 0, j.feed.Heads())
	})
}

// savepoint takes one by the command line, moves it away, and compares its counts.
func (j pairJob) savepoint() (path string) {
	j.t.Helper()
	var written struct {
		Path string `json:"path"`
	}
	j.c.CommandLine().JSON(&written, "savepoint", j.cfg.Job, j.c.CheckpointDir("savepoints"))
	path = j.c.Move(written.Path, j.c.CheckpointDir(harness.RandomName("moved")))
	got, err := j.c.SnapshotCounts(0, path, harness.OperatorUID, harness.OperatorState)
	if err != nil {
		j.t.Fatal(err)
	}
	if d := harness.Difference(got, harness.RecordCounts(j.feed.Seed, nil, j.feed.Heads(), j.feed.Keys)); d != "" {
		j.t.Errorf("the savepoint of %s: %s", j.cfg.Job, d)
	}
	return path
}

// goOn ends the job and begins one on another backend from its savepoint. last is the
// savepoint that the next one leaves.
func (j pairJob) goOn(backend string, parallelism int, path string) (r Restored, next pairJob, last string) {
	j.t.Helper()
	j.end()
	next = startPair(j.t, j.c, pairJob{feed: j.feed, backend: backend, parallelism: parallelism},
		"HOLDFAST_EXECUTION_STATE_RECOVERY_PATH="+path)
	for _, st := range j.c.MustDescribe(next.cfg.Job).Subtasks {
		if st.RestoredCheckpoint == 0 {
			j.t.Errorf("subtask %d of %s began from empty", st.Index, next.cfg.Job)
		}
	}
	next.counted()
	r = Restored{From: j.backend, To: backend, Before: j.parallelism, After: parallelism, Records: harness.Sum(harness.RecordCounts(j.feed.Seed, nil, j.feed.Heads(), j.feed.Keys))}
	r.States, r.Entries = j.sizes(path)
	same := next.savepoint()
	r.Difference = j.same(path, same)
	before := j.feed.Heads()
	j.feed.Produce(pairMore)
	next.counted()
	last = next.savepoint()
	r.Changed, r.MustChange = j.changed(path, last, before)
	return r, next, last
}

func (j pairJob) end() {
	j.t.Helper()
	j.c.CommandLine().Must("cancel", j.cfg.Job)
	j.operator.WaitExit(j.t)
}

// sizes counts states and entries of a savepoint.
func (j pairJob) sizes(path string) (states, entries int) {
	j.t.Helper()
	for _, state := range append([]string{harness.OperatorState}, harness.KindStates...) {
		text := j.c.CommandLine().Must("state", "scan", "--savepoint", path, "--state", state, "--keys-only")
		states, entries = states+1, entries+strings.Count(text, "\n")
	}
	return states, entries
}

// same is `holdfast diff` of what must be equal.
func (j pairJob) same(a, b string) (lines int) {
	j.t.Helper()
	out, errs, code := j.c.CommandLine().Run("diff", a, b)
	if code != 0 || out != "no difference\n" {
		j.t.Errorf("holdfast diff %s %s: exit code %d, %.2000s%s\nwant 0 and no difference", a, b, code, out, errs)
	}
	return strings.Count(out, "\n") - 1
}

// difference is one line of `holdfast diff -o json`.
type difference struct {
	Change, State, Key string
	Before, After      any
}

// changed is `holdfast diff` of a savepoint with one that has more records: it must
// name exactly the keys of those, with their counts.
func (j pairJob) changed(a, b string, from map[uint32]int64) (changed, must int) {
	j.t.Helper()
	out, errs, code := j.c.CommandLine().Run("diff", a, b, "--state", harness.OperatorState, "-o", "json")
	if code != 1 {
		j.t.Errorf("holdfast diff %s %s: exit code %d, %s\nwant 1: there are differences", a, b, code, errs)
	}
	then := harness.RecordCounts(j.feed.Seed, nil, from, j.feed.Keys)
	now := harness.RecordCounts(j.feed.Seed, nil, j.feed.Heads(), j.feed.Keys)
	var want []string
	for key := range harness.RecordCounts(j.feed.Seed, from, j.feed.Heads(), j.feed.Keys) {
		if then[key] == 0 {
			want = append(want, fmt.Sprintf("added %s <nil> %d", key, now[key]))
		} else {
			want = append(want, fmt.Sprintf("changed %s %d %d", key, then[key], now[key]))
		}
	}
	var got []string
	for line := range strings.Lines(out) {
		var d difference
		if err := json.Unmarshal([]byte(line), &d); err != nil {
			j.t.Fatalf("%q: %v", line, err)
		}
		if d.Change != "sum" {
			got = append(got, fmt.Sprintf("%s %s %v %v", d.Change, d.Key, d.Before, d.After))
		}
	}
	slices.Sort(got)
	slices.Sort(want)
	if !slices.Equal(got, want) {
		j.t.Errorf("holdfast diff %s %s says\n%v\nwant\n%v", a, b, got, want)
	}
	return len(got), len(want)
}

// RestoredTable renders restores.
func RestoredTable(all []Restored) string {
	var b strings.Builder
	w := tabwriter.NewWriter(&b, 0, 0, 2, ' ', 0)
	fmt.Fprintln(w, "from\tto\tparallelism\trecords\tstates\tentries\tdifferent\tchanged then\tof")
	for _, r := range all {
		fmt.Fprintf(w, "%s\t%s\t%d to %d\t%d\t%d\t%d\t%d\t%d\t%d\n", r.From, r.To, r.Before, r.After, r.Records, r.States, r.Entries, r.Difference, r.Changed, r.MustChange)
	}
	_ = w.Flush() // a strings.Builder takes everything
	return b.String()
}
