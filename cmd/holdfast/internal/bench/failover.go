package bench

import (
	"context"
	"fmt"
	"time"
)

// FailoverConfig says how many leaders to kill.
type FailoverConfig struct{ Kills int }

// FailoverReport is the time from SIGKILL to a leader until a flush that was sent
// after it is durable.
type FailoverReport struct {
	Machine Machine      `json:"machine"`
	Gap     Distribution `json:"gap"`
	Gaps    []float64    `json:"gaps_ms"`
}

// flushEvery is the pause between flushes while leaders are killed.
const flushEvery = 2 * time.Millisecond

// beforeKill is how many flushes are acknowledged before each kill.
const beforeKill = 20

// Failover kills leader after leader under traffic on another node.
func Failover(ctx context.Context, cfg Config, f FailoverConfig) (r *FailoverReport, err error) {
	r = &FailoverReport{Machine: ThisMachine()}
	c, err := open(ctx, cfg)
	if err != nil {
		return nil, err
	}
	defer closing(c, &err)
	var gaps []time.Duration
	for n := range f.Kills {
		cfg.Note(fmt.Sprintf("killing leader %d of %d", n+1, f.Kills))
		gap, err := c.killLeader(ctx)
		if err != nil {
			return nil, fmt.Errorf("kill %d: %w", n+1, err)
		}
		gaps = append(gaps, gap)
		r.Gaps = append(r.Gaps, float64(gap.Microseconds())/1000)
	}
	r.Gap = distribution(gaps)
	return r, nil
}

// killLeader kills the leader, waits for the first commit of what was sent after
// it, compares the counts, and starts the node again.
func (c *cluster) killLeader(ctx context.Context) (time.Duration, error) {
	leader, others, err := c.nodes(ctx)
	if err != nil {
		return 0, err
	}
	s, err := c.openSlot(ctx, others[0].address, 0)
	if err != nil {
		return 0, err
	}
	defer s.close()
	keys := run(0, 16)
	for range beforeKill {
		seq, err := s.addOne(keys)
		if err == nil {
			err = s.acked(seq)
		}
		if err != nil {
			return 0, err
		}
	}
	killed := time.Now()
	if _, err := c.local.Kill(leader.name); err != nil {
		return 0, err
	}
	gap, err := s.firstCommit(keys, killed)
	if err != nil {
		return 0, err
	}
	if _, err := c.local.Start(c.cfg.Binary, leader.name); err != nil {
		return 0, err
	}
	if err := s.check(ctx); err != nil {
		return 0, err
	}
	return gap, c.local.WaitServing(ctx, startLimit, leader.name)
}

// firstCommit sends flushes and returns the time since killed of the first ack of
// one of them; then it waits for the others.
func (s *slot) firstCommit(keys []int, killed time.Time) (gap time.Duration, err error) {
	first := s.seq + 1
	tick := time.NewTicker(flushEvery)
	defer tick.Stop()
	for gap == 0 {
		due := tick.C
		if s.seq+1-first >= window {
			due = nil
		}
		select {
		case through := <-s.acks:
			if through >= first {
				gap = time.Since(killed)
			}
			if through == s.seq {
				return gap, nil
			}
		case <-due:
			if _, err := s.addOne(keys); err != nil {
				return 0, err
			}
		case <-s.ended:
			return 0, s.err
		}
	}
	return gap, s.acked(s.seq)
}
