package coordinator

import (
	"testing"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"

	holdfastv1 "github.com/holdfast-io/holdfast/proto/holdfast/v1"
)

// Every write that is fenced off, overtakes or comes twice is counted by its
// reason, and so is an ack that comes too late (invariants 1, 3 and 6).
func TestMetrics_RefusedByReason(t *testing.T) {
	l := newLog(t)
	s, tok := l.running(counterSpec("count"))
	l.must(flush(s, tok, 1, "a"))
	l.must(flush(s, tok, 1, "a"))
	l.refused(flush(s, tok-1, 2, "a"), fencedReason)
	l.refused(flush(s, tok, 3, "a"), gapReason)
	n := l.must(begin("job")).CheckpointId
	l.must(ready(s, tok, 2, n, 101))
	l.must(ready(s, tok, 3, n, 101))
	l.refused(ready(s, tok-1, 4, n, 101), fencedReason)
	l.refused(begin("nobody"), holdfastv1.ErrorReason_ERROR_REASON_JOB_NOT_FOUND)
	for _, c := range []struct {
		command, reason string
		want            float64
	}{
		{"flush", "DUPLICATE", 1}, {"flush", "FENCED", 1}, {"flush", "SEQ_GAP", 1},
		{"ready", "FENCED", 1}, {"ready", "CHECKPOINT_DECIDED", 1}, {"ready", "SECOND_ACK", 0},
		{"begin_checkpoint", "JOB_NOT_FOUND", 1},
	} {
		if got := testutil.ToFloat64(l.m.metrics.refused.WithLabelValues(c.command, c.reason)); got != c.want {
			t.Errorf("%s %s: %v, want %v", c.command, c.reason, got, c.want)
		}
	}
	if got := testutil.ToFloat64(l.m.metrics.applied[1]); got != 4 {
		t.Errorf("flushes applied: %v, want 4", got)
	}
}

// stateOf is a registry's view of a machine's state.
type stateOf struct{ m *Machine }

func (s stateOf) Describe(ch chan<- *prometheus.Desc) { DescribeState(ch) }

func (s stateOf) Collect(ch chan<- prometheus.Metric) {
	for _, m := range s.m.StateMetrics() {
		ch <- m
	}
}

// What is read from the state is described, without two series of one name, and
// a job's series go with the job.
func TestMetrics_OfTheState(t *testing.T) {
	l := newLog(t)
	s, tok := l.running(counterSpec("count"))
	l.must(ready(s, tok, 1, l.must(begin("job")).CheckpointId, 101))
	r := prometheus.NewPedanticRegistry()
	r.MustRegister(stateOf{l.m})
	if n, err := testutil.GatherAndCount(r, "holdfast_coordinator_checkpoints_completed_total", "holdfast_coordinator_restarts_total"); err != nil || n != 2 {
		t.Errorf("%d series of a running job, %v", n, err)
	}
	l.must(finish(s, tok, 2, 102))
	if n, err := testutil.GatherAndCount(r, "holdfast_coordinator_checkpoints_completed_total"); err != nil || n != 0 {
		t.Errorf("%d series of an ended job, %v", n, err)
	}
}
