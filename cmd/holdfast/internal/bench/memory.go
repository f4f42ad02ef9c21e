package bench

import (
	"context"
	"fmt"
	"time"

	holdfastv1 "github.com/holdfast-io/holdfast/proto/holdfast/v1"
)

// MemoryConfig says how long to look.
type MemoryConfig struct {
	Duration time.Duration
	// Interval is that of the checkpoints of the empty job.
	Interval time.Duration
}

// MemoryReport is what the nodes of a cluster take whose one job has no records.
type MemoryReport struct {
	Machine     Machine      `json:"machine"`
	Seconds     float64      `json:"seconds"`
	Checkpoints uint64       `json:"checkpoints"`
	Nodes       []NodeMemory `json:"nodes"`
}

// NodeMemory is the memory of one node at the end.
type NodeMemory struct {
	Name   string `json:"name"`
	Leader bool   `json:"leader"`
	Memory
}

// MemoryOfEmptyJob runs a job without records and with checkpoints.
func MemoryOfEmptyJob(ctx context.Context, cfg Config, f MemoryConfig) (r *MemoryReport, err error) {
	r = &MemoryReport{Machine: ThisMachine(), Seconds: f.Duration.Seconds()}
	c, err := open(ctx, cfg)
	if err != nil {
		return nil, err
	}
	defer closing(c, &err)
	_, others, err := c.nodes(ctx)
	if err != nil {
		return nil, err
	}
	s, err := c.openSlot(ctx, others[0].address, f.Interval)
	if err != nil {
		return nil, err
	}
	defer s.close()
	cfg.Note("an empty job with checkpoints")
	end := time.NewTimer(f.Duration)
	defer end.Stop()
	for over := false; !over; {
		select {
		case m := <-s.control:
			if err := s.answer(m); err != nil {
				return nil, err
			}
			r.Checkpoints = max(r.Checkpoints, m.GetCheckpointComplete().GetCheckpointId())
		case <-s.acks:
		case <-s.ended:
			return nil, s.err
		case <-end.C:
			over = true
		}
	}
	if r.Checkpoints == 0 {
		return nil, fmt.Errorf("no checkpoint completed in %s", f.Duration)
	}
	return r, c.addMemory(ctx, r)
}

func (c *cluster) addMemory(ctx context.Context, r *MemoryReport) error {
	leader, others, err := c.nodes(ctx)
	if err != nil {
		return err
	}
	for _, n := range append([]node{leader}, others...) {
		m, err := memoryOf(n.pid)
		if err != nil {
			return err
		}
		r.Nodes = append(r.Nodes, NodeMemory{Name: n.name, Leader: n.leader, Memory: m})
	}
	return nil
}

// answer passes a barrier and acks it at once; all else is of no interest to an
// empty job.
func (s *slot) answer(m *holdfastv1.HostMessage) error {
	b := m.GetBarrier()
	if b == nil {
		return nil
	}
	return s.ready(b.CheckpointId)
}

// ready tells that the subtask is through with a checkpoint.
func (s *slot) ready(checkpoint uint64) error {
	if err := s.send(&holdfastv1.OperatorMessage{Message: &holdfastv1.OperatorMessage_BarrierPassed{BarrierPassed: &holdfastv1.BarrierPassed{
		FencingToken: s.token, CheckpointId: checkpoint}}}); err != nil {
		return err
	}
	s.seq++
	return s.send(&holdfastv1.OperatorMessage{Message: &holdfastv1.OperatorMessage_CheckpointReady{CheckpointReady: &holdfastv1.CheckpointReady{
		FencingToken: s.token, Seq: s.seq, CheckpointId: checkpoint, Positions: []*holdfastv1.Position{{Topic: topic, NextOffset: s.position, LeaderEpoch: -1}}}}})
}
