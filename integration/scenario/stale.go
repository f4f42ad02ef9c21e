package scenario

import (
	"slices"
	"syscall"
	"testing"
	"time"

	"github.com/holdfast-io/holdfast/integration/harness"
	holdfastv1 "github.com/holdfast-io/holdfast/proto/holdfast/v1"
)

// The scenarios of this file stop one side with SIGSTOP while a write of it is
// under way, give its work to a successor, and continue it: its late writes and
// acks must be refused (invariant 1). A round in which nothing was refused has
// shown nothing and is done again, a bounded number of times. Processes only.

// lateFrames are late writes and acks, as the log or a host refuses them.
var lateFrames = []string{
	"flush/FENCED", "ready/FENCED", "late-frame/flush", "late-frame/checkpoint_ready",
}

// lateResume is a stopped process that asks for its attempt back, with the frames
// that it has in flight, and is told that it is fenced.
const lateResume = "told/fenced"

// lateProposals are those of a leader that was replaced.
var lateProposals = []string{"proposal/unknown", "proposal/not_applied"}

// enoughUnread is more than the heartbeats of a few seconds and less than a flush.
const enoughUnread = 400

// triesPerRound bounds how often a round is done again.
const triesPerRound = 5

// staleRounds runs a round until it has refused something that counts, rounds
// times.
func staleRounds(t *testing.T, what string, rounds int, counts []string, round func() harness.Refusals) {
	t.Helper()
	total, least, tries := harness.Refusals{}, uint64(1<<62), 0
	for n := range rounds {
		for try := 1; ; try++ {
			tries++
			got := round()
			total.Add(got)
			if sum := got.Of(counts...); sum > 0 {
				least = min(least, sum)
				t.Logf("%s, round %d, try %d: refused %v", what, n+1, try, got)
				break
			}
			if try == triesPerRound {
				t.Fatalf("%s, round %d: nothing late was refused in %d tries, so nothing was shown", what, n+1, try)
			}
		}
	}
	t.Logf("%s: %d rounds in %d tries, at least %d refused in each; in all: %v", what, rounds, tries, least, total)
}

// refusedSince waits until one of the keys was refused by a node since before,
// for a while: it may be that nothing was late.
func refusedSince(c *harness.Cluster, node int, before harness.Refusals, keys ...string) harness.Refusals {
	got := harness.Refusals{}
	_ = harness.Soon(2*time.Second, func() error {
		now, err := c.Refusals(node)
		if err != nil {
			return err
		}
		if got = now.Since(before).Only(keys...); len(got) == 0 {
			return errorf("nothing was refused")
		}
		return nil
	}) // the caller counts
	return got
}

func mustRefusals(t *testing.T, c *harness.Cluster, node int) harness.Refusals {
	t.Helper()
	var out harness.Refusals
	harness.Until(t, "the refusals of "+c.Node(node).Name, func() (err error) {
		out, err = c.Refusals(node)
		return err
	})
	return out
}

func freeze(t *testing.T, c *harness.Cluster, i int) {
	t.Helper()
	if !c.Freeze(i) {
		t.Fatalf("nodes of this back end (%s) cannot be stopped", c.Backend.Kind())
	}
}

// freezeUnread stops a node so that it has a flush in its socket that it has not
// read: it stops the node at a moment when the operator has nothing in flight,
// and tries again if that moment was over.
func freezeUnread(t *testing.T, c *harness.Cluster, node int, idle func() bool) {
	t.Helper()
	harness.Until(t, "a flush that the stopped host has not read", func() error {
		if !idle() {
			return errorf("the operator always has flushes in flight")
		}
		return freezeOnce(t, c, node, c.SessionTimeout/2)
	})
}

// freezeOnce stops a node, and continues it if nothing comes soon that it does
// not read.
func freezeOnce(t *testing.T, c *harness.Cluster, node int, soon time.Duration) error {
	t.Helper()
	freeze(t, c, node)
	err := harness.Soon(soon, func() error {
		n, err := c.Unread(node)
		if err == nil && n < enoughUnread {
			err = errorf("%d bytes are unread", n)
		}
		return err
	})
	if err != nil {
		c.Thaw(node)
		c.WaitCaughtUp(node)
	}
	return err
}

func idle(f *harness.Flusher) func() bool { return func() bool { return f.Stats().InFlight() == 0 } }

// StaleOperator stops an operator process between a flush and its ack, for
// longer than every timeout. Its host is stopped with it, as if their machine
// stood still: both wake at once, and the old flush is judged. In a quarter as many
// rounds more the host lives, has ended the stream, and turns the process away.
func StaleOperator(t *testing.T, c *harness.Cluster, rounds int) {
	feed := harness.NewFeed(t, 1, 40)
	stop := feed.Flow(5, traffic)
	cfg := feed.Operator("counter")
	cfg.CheckpointMs = 500
	s := &staleOperator{t: t, c: c, cfg: cfg}
	s.start()
	c.WaitStatus("counter", holdfastv1.JobStatus_JOB_STATUS_RUNNING)
	s.start()
	round := func(withHost bool) func() harness.Refusals {
		return func() harness.Refusals {
			got := s.round(withHost)
			feed.CheckCheckpoint(c, "counter", nil, c.ReadCheckpoint("counter", c.Completed("counter")))
			return got
		}
	}
	staleRounds(t, "operator and its host", rounds, lateFrames, round(true))
	staleRounds(t, "operator alone", (rounds+3)/4, []string{lateResume}, round(false))
	stop()
	t.Logf("counter: %d records counted exactly once, %d takeovers", harness.Sum(feed.CheckFinal(c, "counter", nil)), c.MustDescribe("counter").Summary.Restarts)
	c.VerifyReplicas()
}

type staleOperator struct {
	t         *testing.T
	c         *harness.Cluster
	cfg       harness.OperatorConfig
	operators []*harness.Operator
}

// start starts an operator on each follower in turn, so that the leader is never
// the one that is stopped.
func (s *staleOperator) start() {
	followers := s.c.Followers()
	s.operators = append(s.operators, harness.StartOperator(s.t, s.cfg, s.c.Addresses(followers[len(s.operators)%len(followers)])))
}

func (s *staleOperator) round(withHost bool) harness.Refusals {
	t, c := s.t, s.c
	t.Helper()
	var st *holdfastv1.SubtaskDescription
	leader, host := apart(t, c, func() int {
		waitStandby(c, "counter")
		if st = running(c.WaitStatus("counter", holdfastv1.JobStatus_JOB_STATUS_RUNNING)); st == nil {
			return -1
		}
		return c.NodeIndex(st.NodeId)
	})
	stale := s.operators[0]
	if stale.ID != st.ProcessId {
		stale = s.operators[1]
	}
	c.WaitCounted("counter", 50)
	before := mustRefusals(t, c, leader)
	hostBefore, toldBefore := mustRefusals(t, c, host), s.toldFenced()
	freezeUnread(t, c, host, func() bool { return true })
	if err := stale.Signal(syscall.SIGSTOP); err != nil {
		t.Fatal(err)
	}
	if !withHost {
		c.Thaw(host)
	}
	waitAttempt(c, "counter", st.Attempt)
	c.WaitCounted("counter", 50)
	if withHost {
		// That the process gives its stream up reaches the host after the flush.
		c.CutBoth(harness.Clients, host)
		c.Thaw(host)
	}
	if err := stale.Signal(syscall.SIGCONT); err != nil {
		t.Fatal(err)
	}
	got := harness.Refusals{}
	if withHost {
		got = refusedSince(c, leader, before, lateFrames...)
		c.Heal()
	}
	waitStandby(c, "counter")
	c.WaitCaughtUp(host)
	got = together(got, refusedSince(c, host, hostBefore, lateFrames...))
	if turned := s.toldFenced() - toldBefore; turned > 0 {
		got[lateResume] = turned
	}
	return got
}

// toldFenced is how many streams of all nodes were told that they are fenced.
func (s *staleOperator) toldFenced() uint64 {
	sum := uint64(0)
	for i := range s.c.Size() {
		sum += mustRefusals(s.t, s.c, i)[lateResume]
	}
	return sum
}

// apart waits until the work is on a node that does not lead. If it is on the
// leader, that is killed: the work goes on elsewhere, and so does leadership,
// but not always apart.
func apart(t *testing.T, c *harness.Cluster, hostOfWork func() int) (leader, host int) {
	t.Helper()
	harness.Until(t, "the work to be on a follower", func() error {
		l, h := c.Leader(), hostOfWork()
		switch {
		case h < 0:
			return errorf("it is on no node")
		case h == l.Index:
			c.Kill(h)
			c.WaitForNewLeader(l)
			c.Start(h)
			c.WaitCaughtUp(h)
			return errorf("it was on the leader, %s", l.Name)
		}
		leader, host = l.Index, h
		return nil
	})
	return leader, host
}

// together joins what the log refused, which every node counts, with what one
// host refused by itself.
func together(log, host harness.Refusals) harness.Refusals {
	out := harness.Refusals{}
	for k, n := range log {
		out[k] = n
	}
	for k, n := range host {
		out[k] = max(out[k], n)
	}
	return out
}

// StaleHost stops the host of a flusher with frames that it has not read. The
// flusher goes on elsewhere under a new token; the host does not hear of that,
// since its clients are cut off too, and proposes the old frames when it wakes.
func StaleHost(t *testing.T, c *harness.Cluster, rounds int) {
	f := harness.StartFlusher(c, harness.FlusherConfig{
		Job: "on-the-host", CheckpointMs: 200, Pause: slowTraffic, Addresses: func(int) []string { return leaderLast(c) },
	})
	staleRounds(t, "host", rounds, lateFrames, func() harness.Refusals {
		leader, host := apart(t, c, func() int {
			f.WaitAcked(20)
			return f.HostIndex(0)
		})
		before, hostBefore := mustRefusals(t, c, leader), mustRefusals(t, c, host)
		resumes := f.Stats().Resumes
		freezeUnread(t, c, host, idle(f))
		c.CutBoth(harness.Clients, host)
		harness.Until(t, "the flusher to go on elsewhere", func() error {
			if f.Stats().Resumes == resumes {
				return errorf("it has not resumed")
			}
			return f.Err()
		})
		f.WaitAcked(50)
		c.Thaw(host)
		got := refusedSince(c, leader, before, lateFrames...)
		c.WaitCaughtUp(host)
		c.Heal()
		f.WaitAcked(20)
		return together(got, refusedSince(c, host, hostBefore, lateFrames...))
	})
	checkFlusher(t, f)
	f.CheckNewestCheckpoint()
	c.VerifyReplicas()
}

// StaleLeader stops the leader with proposals of other hosts, and frames of a
// flusher of its own, that it has not read. When it wakes it still takes itself
// for the leader: what it proposes must come to nothing.
func StaleLeader(t *testing.T, c *harness.Cluster, rounds int) {
	on := harness.StartFlusher(c, harness.FlusherConfig{
		Job: "on-the-leader", CheckpointMs: 200, Pause: slowTraffic, Addresses: func(int) []string { return leaderFirst(c) },
	})
	away := harness.StartFlusher(c, harness.FlusherConfig{
		Job: "away", Pause: slowTraffic, Addresses: func(int) []string { return leaderLast(c) },
	})
	staleRounds(t, "leader", rounds, append(slices.Clone(lateFrames), lateProposals...), func() harness.Refusals {
		on.WaitAcked(20)
		away.WaitAcked(20)
		var old harness.Leadership
		var before harness.Refusals
		var resumes int
		harness.Until(t, "a leader with a flush that it has not read", func() error {
			old = hostedByLeader(t, c, on)
			before, resumes = mustRefusals(t, c, old.Index), on.Stats().Resumes
			// Another one may lead after a stop at the wrong moment.
			return freezeOnce(t, c, old.Index, 10*slowTraffic)
		})
		c.CutBoth(harness.Clients, old.Index)
		next := c.WaitForNewLeader(old)
		harness.Until(t, "the leader's own flusher to go on elsewhere", func() error {
			if on.Stats().Resumes == resumes {
				return errorf("it has not resumed")
			}
			return on.Err()
		})
		on.WaitAcked(50)
		away.WaitAcked(50)
		fresh := mustRefusals(t, c, next.Index)
		c.Thaw(old.Index)
		got := refusedSince(c, old.Index, before, append(slices.Clone(lateFrames), lateProposals...)...)
		c.WaitCaughtUp(old.Index)
		c.Heal()
		return together(refusedSince(c, next.Index, fresh, lateFrames...), got)
	})
	checkFlusher(t, on)
	checkFlusher(t, away)
	c.VerifyReplicas()
}

// hostedByLeader waits until a flusher is on the leader with nothing in flight.
func hostedByLeader(t *testing.T, c *harness.Cluster, f *harness.Flusher) harness.Leadership {
	t.Helper()
	var l harness.Leadership
	harness.Until(t, "an idle flusher on the leader", func() error {
		l = c.Leader()
		if at := f.HostIndex(0); at != l.Index {
			f.GoHome()
			return errorf("it is on node %d, %s leads", at, l.Name)
		}
		if !idle(f)() {
			return errorf("it has flushes in flight")
		}
		return f.Err()
	})
	return l
}
