package bench

import (
	"context"
	"fmt"
	"math/rand/v2"
	"time"

	holdfastv1 "github.com/holdfast-io/holdfast/proto/holdfast/v1"
)

// StateConfig says how long and on how much state to work.
type StateConfig struct {
	Keys, Batch int
	// Duration is split between the leader and another node.
	Duration time.Duration
}

// StateReport is what a read-modify-write of batches of random keys takes.
type StateReport struct {
	Machine Machine    `json:"machine"`
	Keys    int        `json:"keys"`
	Batch   int        `json:"batch"`
	Leader  StateTimes `json:"leader"`
	Other   StateTimes `json:"other_node"`
}

// StateTimes are those of one node.
type StateTimes struct {
	Rate  float64      `json:"keys_per_second"`
	Get   Distribution `json:"get"`
	Flush Distribution `json:"flush"`
}

// State measures Get, add one, Flush, wait for the ack: one batch at a time.
func State(ctx context.Context, cfg Config, f StateConfig) (r *StateReport, err error) {
	r = &StateReport{Machine: ThisMachine(), Keys: f.Keys, Batch: f.Batch}
	c, err := open(ctx, cfg)
	if err != nil {
		return nil, err
	}
	defer closing(c, &err)
	leader, others, err := c.nodes(ctx)
	if err != nil {
		return nil, err
	}
	cfg.Note("reading and writing on the leader")
	if r.Leader, err = c.readModifyWrite(ctx, leader, f); err != nil {
		return nil, err
	}
	cfg.Note("reading and writing on another node")
	r.Other, err = c.readModifyWrite(ctx, others[0], f)
	return r, err
}

func (c *cluster) readModifyWrite(ctx context.Context, n node, f StateConfig) (t StateTimes, err error) {
	s, err := c.openSlot(ctx, n.address, 0)
	if err != nil {
		return t, err
	}
	defer s.close()
	rnd := rand.New(rand.NewPCG(1, 2))
	var gets, flushes []time.Duration
	began := time.Now()
	for time.Since(began) < f.Duration/2 {
		// Keys of one batch are different, as a client coalesces them.
		keys := run(rnd.IntN(f.Keys-f.Batch+1), f.Batch)
		start := time.Now()
		values, err := s.get(keys)
		if err != nil {
			return t, err
		}
		read := time.Now()
		if len(values) != len(keys) {
			return t, fmt.Errorf("a Get of %d keys was answered with %d values", len(keys), len(values))
		}
		seq, err := s.flush(holdfastv1.FlushOp_FLUSH_OP_PUT, keys, func(i int) int64 { return values[i] + 1 })
		if err == nil {
			err = s.acked(seq)
		}
		if err != nil {
			return t, err
		}
		gets, flushes = append(gets, read.Sub(start)), append(flushes, time.Since(read))
	}
	took := time.Since(began)
	if err := s.checkSum(int64(len(gets) * f.Batch)); err != nil {
		return t, err
	}
	return StateTimes{Rate: float64(len(gets)*f.Batch) / took.Seconds(), Get: distribution(gets), Flush: distribution(flushes)}, s.check(ctx)
}

// checkSum finds reads that did not see an earlier write: the values that were
// written must add up to the number of changes.
func (s *slot) checkSum(changes int64) error {
	sum := int64(0)
	for _, v := range s.want {
		sum += v
	}
	if sum != changes {
		return fmt.Errorf("the counts are wrong: they add up to %d after %d changes, so a Get did not see an acknowledged write", sum, changes)
	}
	return nil
}
