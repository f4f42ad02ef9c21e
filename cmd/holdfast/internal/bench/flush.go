package bench

import (
	"context"
	"time"
)

// FlushConfig says how long and how much to flush.
type FlushConfig struct {
	// Count is how many flushes of Changes changes go one at a time, on the leader
	// and on another node.
	Count, Changes int
	// Rate is the changes a second of the second part, for Duration; 0 leaves it out.
	Rate     int
	Duration time.Duration
}

// updateOps is the number of changes of a flush of the second part.
const updateOps = 1000

// updateKeys is the number of keys that the changes go round.
const updateKeys = 100_000

// FlushReport is what one flush takes, and what a steady stream of them does.
type FlushReport struct {
	Machine Machine       `json:"machine"`
	Changes int           `json:"changes"`
	Leader  Distribution  `json:"leader"`
	Other   Distribution  `json:"other_node"`
	Updates *UpdateReport `json:"updates,omitempty"`
}

// UpdateReport is a stream of updates on schedule, through another node than the
// leader. A queue that grows shows in the most flushes in flight and in the second
// half.
type UpdateReport struct {
	Rate         float64      `json:"updates_per_second"`
	Wanted       int          `json:"wanted_per_second"`
	MostInFlight int          `json:"most_in_flight"`
	FirstHalf    Distribution `json:"first_half"`
	SecondHalf   Distribution `json:"second_half"`
}

// Flush measures flushes.
func Flush(ctx context.Context, cfg Config, f FlushConfig) (r *FlushReport, err error) {
	r = &FlushReport{Machine: ThisMachine(), Changes: f.Changes}
	c, err := open(ctx, cfg)
	if err != nil {
		return nil, err
	}
	defer closing(c, &err)
	leader, others, err := c.nodes(ctx)
	if err != nil {
		return nil, err
	}
	cfg.Note("one flush at a time on the leader")
	if r.Leader, err = c.oneByOne(ctx, leader, f); err != nil {
		return nil, err
	}
	cfg.Note("one flush at a time on another node")
	if r.Other, err = c.oneByOne(ctx, others[0], f); err != nil {
		return nil, err
	}
	if f.Rate > 0 {
		cfg.Note("a steady stream of updates")
		r.Updates, err = c.updates(ctx, others[0], f)
	}
	return r, err
}

func (c *cluster) oneByOne(ctx context.Context, n node, f FlushConfig) (Distribution, error) {
	s, err := c.openSlot(ctx, n.address, 0)
	if err != nil {
		return Distribution{}, err
	}
	defer s.close()
	keys := run(0, f.Changes)
	var took []time.Duration
	for range f.Count {
		start := time.Now()
		seq, err := s.addOne(keys)
		if err == nil {
			err = s.acked(seq)
		}
		if err != nil {
			return Distribution{}, err
		}
		took = append(took, time.Since(start))
	}
	return distribution(took), s.check(ctx)
}

// run is n keys from first.
func run(first, n int) []int {
	out := make([]int, n)
	for i := range out {
		out[i] = first + i
	}
	return out
}

// updates sends flushes on schedule, whatever is acknowledged, as long as the
// window of the protocol allows.
func (c *cluster) updates(ctx context.Context, n node, f FlushConfig) (*UpdateReport, error) {
	s, err := c.openSlot(ctx, n.address, 0)
	if err != nil {
		return nil, err
	}
	defer s.close()
	total := int(f.Duration.Seconds() * float64(f.Rate) / updateOps)
	sent, took := make([]time.Time, 0, total), make([]time.Duration, 0, total)
	most := 0
	tick := time.NewTicker(time.Second * updateOps / time.Duration(f.Rate))
	defer tick.Stop()
	for len(took) < total {
		due := tick.C
		if len(sent) == total || len(sent)-len(took) >= window {
			due = nil
		}
		select {
		case through := <-s.acks:
			for now := time.Now(); len(took) < int(through); {
				took = append(took, now.Sub(sent[len(took)]))
			}
		case <-due:
			sent = append(sent, time.Now())
			if _, err := s.addOne(run(len(sent)*updateOps%updateKeys, updateOps)); err != nil {
				return nil, err
			}
			most = max(most, len(sent)-len(took))
		case <-s.ended:
			return nil, s.err
		}
	}
	if err := s.check(ctx); err != nil {
		return nil, err
	}
	return &UpdateReport{
		Rate: float64((total-1)*updateOps) / sent[total-1].Sub(sent[0]).Seconds(), Wanted: f.Rate, MostInFlight: most,
		FirstHalf: distribution(took[:total/2]), SecondHalf: distribution(took[total/2:]),
	}, nil
}

// window is what the protocol allows in flight (Welcome.limits).
const window = 64
