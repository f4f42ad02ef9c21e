package scenario

import (
	"context"
	"fmt"
	"testing"

	"google.golang.org/grpc"

	"github.com/holdfast-io/holdfast/integration/harness"
)

// TwoLeaders are Histories of one fault: the leader is cut off from the others,
// which elect another one while it still believes that it leads, and clients ask on
// both sides. What is asked on its side waits or is refused: nothing there is stale,
// and nothing is decided twice (invariants 1, 3 and 6). The cluster must be proxied,
// and the first node one that goes on leading for long without an answer.
func TwoLeaders(t *testing.T, c *harness.Cluster, n int, seed uint64) {
	both := 0
	// The adder is on the other side, so that its state moves on there at once.
	prepare := func(h *histories) {
		h.lead(patientNode)
		h.host = h.c.Followers()[0]
	}
	runHistories(t, c, n, seed, prepare, func(h *histories) {
		h.lead(patientNode)
		h.splitOff(h.c.Leader(), func(old harness.Leadership) {
			if h.believes(old) {
				both++
				h.askOn(old.Index)
			}
		})
	})
	t.Logf("two nodes believed that they lead, with clients on both sides, in %d of %d histories", both, n)
	if both <= n/2 {
		t.Errorf("two nodes believed that they lead in %d of %d histories only: the others show less than they should", both, n)
	}
}

// patientNode is the one that leads for long without an answer.
const patientNode = 0

// lead makes a node the leader.
func (h *histories) lead(node int) {
	h.t.Helper()
	harness.Until(h.t, h.c.Node(node).Name+" to lead", func() error {
		l := h.c.Leader()
		if l.Index == node {
			return nil
		}
		if err := h.c.Transfer(l.Index, node); err != nil {
			return err
		}
		return fmt.Errorf("%s leads", l.Name)
	})
}

// splitOff cuts the leader off from the others, in both directions, with clients on
// both sides, until another one leads, has been worked with, and overlap has run. What
// was held back then arrives. While the links are cut no call that began on the
// leader's side may be answered; see on.
func (h *histories) splitOff(old harness.Leadership, overlap func(old harness.Leadership)) {
	h.t.Helper()
	// Not from its followers: another one may lead by now.
	for _, i := range h.c.RunningNodes() {
		if i != old.Index {
			h.c.CutBoth(old.Index, i)
		}
	}
	h.cutOff.Store(int64(old.Index) + 1)
	h.c.WaitForNewLeader(old)
	h.adder.WaitAcked(5)
	overlap(old)
	h.adder.WaitAcked(20)
	h.cutOff.Store(0)
	h.c.Heal()
}

// believes tells whether a node still says that it leads in the term in which it did.
func (h *histories) believes(old harness.Leadership) bool {
	d, err := h.c.DescribeNode(old.Index)
	return err == nil && d.LeaderId == d.NodeId && d.Term == old.Term
}

// askOn asks a node for every key, besides what the clients ask. It waits for no
// answer, which may come when the links are healed.
func (h *histories) askOn(node int) {
	for k := range h.adder.Config.Keys {
		h.clients.Go(func() { h.readSum(node, k, h.onNode) })
	}
}

// onNode makes a call on one node.
func (h *histories) onNode(node int, f func(ctx context.Context, conn *grpc.ClientConn) error) error {
	ctx, cancel := context.WithTimeout(context.Background(), historyCall)
	defer cancel()
	cut := h.cutOff.Load()
	err := f(ctx, h.c.Conn(node))
	if err == nil && cut == int64(node)+1 && h.cutOff.Load() == cut {
		h.t.Errorf("%s answered a call although it was cut off from the majority since before: no answer there is linearizable", h.c.Node(node).Name)
	}
	return err
}
