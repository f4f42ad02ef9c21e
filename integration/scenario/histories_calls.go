package scenario

import (
	"context"
	"encoding/binary"
	"fmt"
	"math/rand/v2"
	"strconv"
	"strings"
	"time"

	"google.golang.org/grpc"

	"github.com/holdfast-io/holdfast/integration/harness"
	"github.com/holdfast-io/holdfast/integration/history"
	holdfastv1 "github.com/holdfast-io/holdfast/proto/holdfast/v1"
)

// historyCall bounds a call of a history: longer than an election, so that those
// have no answer whose node is killed, and not many others. The more there are,
// the longer the search for an order.
const historyCall = 3 * time.Second

// on makes a call on a node that is the client's own or another one.
func (h *histories) on(client int, rnd *rand.Rand, f func(ctx context.Context, conn *grpc.ClientConn) error) error {
	if rnd.IntN(4) == 0 {
		client = rnd.IntN(h.c.Size())
	}
	return h.onNode(client, f)
}

// settle notes what became of a call. Reasons that are the log's decision are
// answers; what was surely not applied is left out; the rest is unknown.
func settle(c *history.Call, err error, output any) {
	f := harness.FailureOf(err)
	switch {
	case err == nil:
		c.Return(output)
	case f.Reason == "CHECKPOINT_PENDING":
		id, _ := strconv.ParseUint(f.Metadata["checkpoint"], 10, 64)
		c.Return(history.Pending{ID: id})
	case f.Reason == "JOB_STATE", f.Reason == "JOB_NOT_FOUND", f.Reason == "JOB_TERMINATED":
		c.Return(history.Reason(f.Reason))
	case f.Outcome == "not_applied", strings.Contains(f.Message, "connection refused"):
		c.Drop() // the node is down: nothing was sent
	}
}

// readSums reads a key of the flusher's state, as a tool would.
func (h *histories) readSums(client int, rnd *rand.Rand) {
	h.readSum(client, rnd.IntN(h.adder.Config.Keys), func(client int, f func(ctx context.Context, conn *grpc.ClientConn) error) error {
		return h.on(client, rnd, f)
	})
}

// readSum reads a key on the node that on chooses.
func (h *histories) readSum(client, k int, on func(client int, f func(ctx context.Context, conn *grpc.ClientConn) error) error) {
	key := fmt.Sprintf("p0-k%d", k)
	c := h.sums.Begin(client, history.ReadSum{Key: key})
	var sum int64
	err := on(client, func(ctx context.Context, conn *grpc.ClientConn) error {
		r, err := holdfastv1.NewStateServiceClient(conn).Get(ctx, &holdfastv1.GetRequest{
			State: &holdfastv1.StateSelector{Job: h.adder.JobID, OperatorUid: harness.FlusherOperator, StateName: harness.FlusherState},
			Keys:  [][]byte{[]byte(key)},
		})
		if err == nil && r.Entries[0].Found {
			sum = int64(binary.LittleEndian.Uint64(r.Entries[0].Value))
		}
		return err
	})
	if err == nil {
		c.Return(sum)
	}
}

// requestID is mostly a new one, and sometimes one that somebody used of late.
func (h *histories) requestID(rnd *rand.Rand) string {
	if last := h.lastID.Load(); last > 0 && rnd.IntN(3) == 0 {
		return fmt.Sprintf("r%d", max(1, last-int64(rnd.IntN(3))))
	}
	return fmt.Sprintf("r%d", h.lastID.Add(1))
}

// administer submits and cancels jobs of one name, and looks at them.
func (h *histories) administer(client int, rnd *rand.Rand) {
	switch rnd.IntN(6) {
	case 0, 1:
		h.submit(client, rnd)
	case 2:
		in := history.Cancel{Request: h.requestID(rnd)}
		c := h.jobs.Begin(client, in)
		settle(c, h.on(client, rnd, func(ctx context.Context, conn *grpc.ClientConn) error {
			_, err := holdfastv1.NewJobServiceClient(conn).Cancel(ctx, &holdfastv1.CancelRequest{Job: h.job, RequestId: in.Request})
			return err
		}), history.Canceled{})
	case 3:
		h.list(client, rnd)
	default:
		h.describe(client, rnd)
	}
}

func (h *histories) submit(client int, rnd *rand.Rand) {
	in := history.Submit{Submission: h.requestID(rnd)}
	c := h.jobs.Begin(client, in)
	var out history.Submitted
	err := h.on(client, rnd, func(ctx context.Context, conn *grpc.ClientConn) error {
		r, err := holdfastv1.NewJobServiceClient(conn).Submit(ctx, &holdfastv1.SubmitRequest{
			Spec: harness.FlusherConfig{Job: h.job, Slots: 1}.Spec(), SubmissionId: in.Submission})
		out.JobID = r.GetJobId()
		return err
	})
	settle(c, err, out)
}

func (h *histories) describe(client int, rnd *rand.Rand) {
	c := h.jobs.Begin(client, history.Describe{})
	var out history.Described
	err := h.on(client, rnd, func(ctx context.Context, conn *grpc.ClientConn) error {
		r, err := holdfastv1.NewJobServiceClient(conn).Describe(ctx, &holdfastv1.DescribeRequest{Job: h.job})
		s := r.GetJob().GetSummary()
		out = history.Described{JobID: s.GetJobId(), Submission: s.GetSubmissionId(), Ended: hasEnded(s)}
		return err
	})
	settle(c, err, out)
}

func (h *histories) list(client int, rnd *rand.Rand) {
	c := h.jobs.Begin(client, history.List{})
	var out history.Listed
	err := h.on(client, rnd, func(ctx context.Context, conn *grpc.ClientConn) error {
		r, err := holdfastv1.NewJobServiceClient(conn).List(ctx, &holdfastv1.ListRequest{})
		for _, s := range r.GetJobs() {
			if s.Name != h.job {
				continue
			}
			out.Jobs++
			if !hasEnded(s) {
				out.Running = s.JobId
			}
		}
		return err
	})
	settle(c, err, out)
}

func hasEnded(s *holdfastv1.JobSummary) bool {
	return s.GetStatus() >= holdfastv1.JobStatus_JOB_STATUS_FINISHED
}

// trigger begins checkpoints by hand, and counts them.
func (h *histories) trigger(client int, rnd *rand.Rand) {
	job := h.triggered.JobID
	if rnd.IntN(2) == 0 {
		c := h.triggers.Begin(client, history.CountTriggers{})
		var out history.Counted
		err := h.on(client, rnd, func(ctx context.Context, conn *grpc.ClientConn) error {
			r, err := holdfastv1.NewJobServiceClient(conn).ListCheckpoints(ctx, &holdfastv1.ListCheckpointsRequest{Job: job})
			out.Triggered = r.GetCounts().GetTriggered()
			return err
		})
		settle(c, err, out)
		return
	}
	_ = h.begin(client, rnd, h.requestID(rnd))
}

// begin triggers a checkpoint under a request id.
func (h *histories) begin(client int, rnd *rand.Rand, request string) error {
	c := h.triggers.Begin(client, history.Trigger{Request: request})
	var out history.Triggered
	err := h.on(client, rnd, func(ctx context.Context, conn *grpc.ClientConn) error {
		r, err := holdfastv1.NewJobServiceClient(conn).TriggerCheckpoint(ctx, &holdfastv1.TriggerCheckpointRequest{Job: h.triggered.JobID, RequestId: request})
		out.ID = r.GetCheckpointId()
		return err
	})
	settle(c, err, out)
	h.mu.Lock()
	defer h.mu.Unlock()
	if err == nil {
		delete(h.unsettled, request)
	} else if f := harness.FailureOf(err); f.Outcome != "not_applied" && !strings.Contains(f.Message, "connection refused") {
		h.unsettled[request] = true
	}
	return err
}

// settleTriggers asks again under every request id that has no answer: then the
// place of all of them is known.
func (h *histories) settleTriggers() {
	for request := range h.unsettled {
		harness.Until(h.t, "an answer to request "+request, func() error { return h.begin(0, h.rnd, request) })
	}
}
