package harness

import (
	"fmt"
	"maps"
	"sync"
	"testing"
	"time"

	holdfastv1 "github.com/holdfast-io/holdfast/proto/holdfast/v1"
)

// FlusherConfig shapes a flusher's job and load. Zero values get defaults.
type FlusherConfig struct {
	Job string
	// CheckpointMs is the interval; 0 disables checkpoints.
	CheckpointMs uint64
	TimeoutMs    uint64
	Retained     uint32
	// MaxBytes limits each named state; 0 is the cluster's default.
	MaxBytes uint64
	// StateBackend is where the state is; default: memory. Directory and Incremental
	// say where and how its checkpoints go, for those on hosts.
	StateBackend, Directory string
	Incremental             bool
	// Retention says what becomes of checkpoints when the job ends.
	Retention holdfastv1.CheckpointRetention
	// InlineThreshold is up to which size state needs no file; 0: the cluster's default.
	InlineThreshold uint64
	// Restore is what the job begins from; nil: nothing.
	Restore *holdfastv1.RestoreFrom
	// Slots above 1 make the job co-partitioned, with as many subtasks.
	Slots int
	// CoPartitioned makes a job of one subtask co-partitioned too.
	CoPartitioned bool
	// Partitions of the source; default: Slots.
	Partitions int
	// Keys of each partition, operations of each flush, flushes in flight.
	Keys, Ops, Window int
	// Pause, if set, is the least time between two refills of the window.
	Pause time.Duration
	// Addresses tells a slot where to open streams, best first, each time it
	// begins anew with its list. Default: all members.
	Addresses func(slot int) []string
	// Dumb flushers take barriers and never answer them.
	Dumb bool
	// Observe, if set, is told what is sent and acknowledged. For one slot.
	Observe FlusherObserver
}

// FlusherObserver sees a flusher's flushes, numbered from 1 over all attempts.
// Its methods must not wait.
type FlusherObserver interface {
	Sent(flush int64, adds map[string]int64)
	Acked(flush int64)
}

type nobody struct{}

func (nobody) Sent(int64, map[string]int64) {}
func (nobody) Acked(int64)                  {}

const (
	flusherSource = "flushes"
	// FlusherOperator and FlusherState name the flusher's state.
	FlusherOperator = "adder"
	FlusherState    = "sums"
)

func (c *FlusherConfig) setDefaults() {
	for p, d := range map[*int]int{&c.Slots: 1, &c.Keys: 50, &c.Ops: 4, &c.Window: 16} {
		if *p == 0 {
			*p = d
		}
	}
	if c.Partitions == 0 {
		c.Partitions = c.Slots
	}
	if c.StateBackend == "" {
		c.StateBackend = "memory"
	}
	if c.Job == "" {
		c.Job = RandomName("flusher")
	}
	if c.Retained == 0 {
		c.Retained = 3
	}
	if c.Observe == nil {
		c.Observe = nobody{}
	}
}

// Spec is the flusher's job.
func (c FlusherConfig) Spec() *holdfastv1.JobSpec {
	c.setDefaults()
	part := holdfastv1.Partitioning_PARTITIONING_HASH
	if c.Slots > 1 || c.CoPartitioned {
		part = holdfastv1.Partitioning_PARTITIONING_CO_PARTITIONED
	}
	spec := &holdfastv1.JobSpec{
		Name: c.Job,
		Operators: []*holdfastv1.Operator{
			{Uid: flusherSource, Parallelism: uint32(c.Slots), Source: &holdfastv1.SourceSpec{Connector: "flusher"}},
			{
				Uid: FlusherOperator, Parallelism: uint32(c.Slots),
				Inputs: []*holdfastv1.OperatorInput{{OperatorUid: flusherSource, Partitioning: part}},
				States: []*holdfastv1.StateDescriptor{{Name: FlusherState, Kind: holdfastv1.StateKind_STATE_KIND_VALUE, Type: "int64", TypeVersion: 1}},
			},
		},
		StateBackend: &holdfastv1.StateBackend{Name: c.StateBackend, MemoryMaxSize: c.MaxBytes},
	}
	if c.CheckpointMs > 0 {
		spec.Checkpoint = &holdfastv1.CheckpointConfig{IntervalMs: c.CheckpointMs, TimeoutMs: c.TimeoutMs, NumRetained: c.Retained,
			Directory: c.Directory, Incremental: c.Incremental, Retention: c.Retention,
			InlineThreshold: c.InlineThreshold,
			// Checkpoints that expire are what some scenarios are about.
			TolerableFailedCheckpoints: 1000}
	}
	return spec
}

// Flusher is a job whose operator keeps flushes of ADD operations in flight. It
// speaks the protocol itself, without the client library. Every flush that was
// sent is sent again until it is acknowledged, so in the end each must have
// been applied exactly once: ADD makes a duplicate visible.
type Flusher struct {
	Config FlusherConfig
	JobID  string

	t     testing.TB
	c     *Cluster
	slots []*flusherSlot
	wg    sync.WaitGroup
}

// StartFlusher submits the job and starts its slots. They end with the test.
func StartFlusher(c *Cluster, cfg FlusherConfig) *Flusher {
	c.t.Helper()
	cfg.setDefaults()
	if cfg.Addresses == nil {
		cfg.Addresses = func(int) []string { return c.Addresses() }
	}
	f := &Flusher{Config: cfg, t: c.t, c: c}
	id, err := c.SubmitFrom(cfg.Spec(), cfg.Restore)
	if err != nil {
		c.t.Fatalf("submit %q: %v", cfg.Job, err)
	}
	f.JobID = id
	process := RandomName("process")
	for i := range cfg.Slots {
		s := newFlusherSlot(f, i, process)
		f.slots = append(f.slots, s)
		f.wg.Go(s.run)
	}
	c.t.Cleanup(f.Close)
	return f
}

// Close ends the slots, with whatever is in flight.
func (f *Flusher) Close() {
	for _, s := range f.slots {
		s.close()
	}
	f.wg.Wait()
	if err := f.Err(); err != nil {
		f.t.Errorf("flusher %s: %v", f.Config.Job, err)
	}
}

// Err is the first violation of the protocol that a slot has seen.
func (f *Flusher) Err() error {
	for _, s := range f.slots {
		s.mu.Lock()
		err := s.bad
		s.mu.Unlock()
		if err != nil {
			return fmt.Errorf("slot %d: %w", s.number, err)
		}
	}
	return nil
}

// Stats are numbers of all slots together.
type Stats struct {
	// Sent and Acked are flushes and Readys of the current attempts.
	Sent, Acked uint64
	// Resumes and Attempts are those that were granted.
	Resumes, Attempts int
	// Resent are frames that went again after a resume.
	Resent int
	// Gets that were answered and compared with what was flushed.
	Gets int
	// Flushes that were ever made.
	Flushes int64
}

// InFlight are frames that are sent and not acknowledged.
func (s Stats) InFlight() uint64 { return s.Sent - s.Acked }

// Stats returns the numbers of this moment.
func (f *Flusher) Stats() Stats {
	var sum Stats
	for _, s := range f.slots {
		s.mu.Lock()
		st := s.stats
		st.Sent, st.Acked = s.seq, s.acked
		s.mu.Unlock()
		sum.Sent += st.Sent
		sum.Acked += st.Acked
		sum.Resumes += st.Resumes
		sum.Attempts += st.Attempts
		sum.Resent += st.Resent
		sum.Gets += st.Gets
		sum.Flushes += st.Flushes
	}
	return sum
}

// WaitAcked waits until every slot has n more frames acknowledged.
func (f *Flusher) WaitAcked(n uint64) {
	f.t.Helper()
	goals := map[*flusherSlot]uint64{}
	Until(f.t, fmt.Sprintf("%d acknowledgements for each slot of %s", n, f.Config.Job), func() error {
		if err := f.Err(); err != nil {
			return errStop{err}
		}
		for _, s := range f.slots {
			got := s.ackedEver()
			if _, seen := goals[s]; !seen {
				goals[s] = got + n
			}
			if got < goals[s] {
				return fmt.Errorf("slot %d has %d of %d; %s", s.number, got, goals[s], s.where())
			}
		}
		return nil
	})
}

// Mark notes what is sent now. A Mark's Commit is the first acknowledgement of
// a flush that was sent later, so it was surely committed later.
type Mark struct {
	InFlight uint64
	at       time.Time
	f        *Flusher
	slot     *flusherSlot
}

// MarkNow begins to wait for a commit after this moment, on one slot.
func (f *Flusher) MarkNow(slot int) *Mark {
	s := f.slots[slot]
	s.mu.Lock()
	defer s.mu.Unlock()
	s.watchSeq, s.watchAt = s.seq+1, time.Time{}
	return &Mark{InFlight: s.seq - s.acked, at: time.Now(), f: f, slot: s}
}

// Gap waits for the commit and tells how long after the mark it came.
func (m *Mark) Gap() time.Duration {
	m.f.t.Helper()
	var gap time.Duration
	Until(m.f.t, "a commit of "+m.f.Config.Job+" after the kill", func() error {
		if err := m.f.Err(); err != nil {
			return errStop{err}
		}
		m.slot.mu.Lock()
		defer m.slot.mu.Unlock()
		if m.slot.watchAt.IsZero() {
			return fmt.Errorf("acked %d, waiting for %d", m.slot.acked, m.slot.watchSeq)
		}
		gap = m.slot.watchAt.Sub(m.at)
		return nil
	})
	return gap
}

// WaitFull returns right after a slot has filled its window.
func (f *Flusher) WaitFull(slot int) {
	f.t.Helper()
	f.waitMoment(slot, "a full window", func(s *flusherSlot, moment chan struct{}) { s.full = moment })
}

// WaitPartial returns right after some of a slot's window was acknowledged and
// the rest was not: it is likely to be committed by then.
func (f *Flusher) WaitPartial(slot int) {
	f.t.Helper()
	f.waitMoment(slot, "a window that is acknowledged in part", func(s *flusherSlot, moment chan struct{}) { s.partial = moment })
}

func (f *Flusher) waitMoment(slot int, what string, set func(*flusherSlot, chan struct{})) {
	f.t.Helper()
	s, moment := f.slots[slot], make(chan struct{})
	s.mu.Lock()
	set(s, moment)
	s.mu.Unlock()
	select {
	case <-moment:
	case <-time.After(Patience()):
		f.t.Fatalf("waited %s for %s of %s: %s", Patience(), what, f.Config.Job, s.where())
	}
}

// Attempt is the attempt that a slot runs, 0 if none.
func (f *Flusher) Attempt(slot int) uint64 {
	s := f.slots[slot]
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.attempt
}

// HostIndex is the node that a slot's stream is on, -1 while there is none.
func (f *Flusher) HostIndex(slot int) int {
	s := f.slots[slot]
	s.mu.Lock()
	defer s.mu.Unlock()
	return f.c.IndexOfAddress(s.address)
}

// GoHome makes every slot resume on the first node of its addresses that takes
// it.
func (f *Flusher) GoHome() {
	for _, s := range f.slots {
		s.goHome()
	}
}

// Quiesce stops making flushes and waits until every one is acknowledged. It
// returns how many flushes each partition made.
func (f *Flusher) Quiesce() map[uint32]int64 {
	f.t.Helper()
	for _, s := range f.slots {
		s.setQuiet(true)
	}
	Until(f.t, "every flush of "+f.Config.Job+" to be acknowledged", func() error {
		if err := f.Err(); err != nil {
			return errStop{err}
		}
		for _, s := range f.slots {
			s.mu.Lock()
			idle := s.attempt != 0 && s.acked == s.seq
			s.mu.Unlock()
			if !idle {
				return fmt.Errorf("slot %d: %s", s.number, s.where())
			}
		}
		return nil
	})
	return f.made()
}

// Continue makes flushes again after Quiesce.
func (f *Flusher) Continue() {
	for _, s := range f.slots {
		s.setQuiet(false)
	}
}

func (f *Flusher) made() map[uint32]int64 {
	out := map[uint32]int64{}
	for _, s := range f.slots {
		s.mu.Lock()
		maps.Copy(out, s.flushes)
		s.mu.Unlock()
	}
	return out
}

// Sums is the flusher's state: live, or of a checkpoint.
func (f *Flusher) Sums(checkpoint uint64) map[string]int64 {
	f.t.Helper()
	return f.c.Counts(StateRef{Job: f.JobID, Operator: FlusherOperator, State: FlusherState, Checkpoint: checkpoint})
}

// Check quiesces, compares the live state with what it must be, and tells the
// sum over all keys: 0 lost, 0 double counted.
func (f *Flusher) Check() int64 {
	f.t.Helper()
	made := f.Quiesce()
	want := FlusherSums(made, f.Config.Ops, f.Config.Keys)
	if d := Difference(f.Sums(0), want); d != "" {
		f.t.Fatalf("state of %s after flushes %v: %s", f.Config.Job, made, d)
	}
	return Sum(want)
}

// CheckCheckpoint compares the state of a retained checkpoint with the flushes
// before its cut, which its positions count (invariant 2).
func (f *Flusher) CheckCheckpoint(k *holdfastv1.Checkpoint) {
	f.t.Helper()
	if err := f.checkCheckpoint(k); err != nil {
		f.t.Fatal(err)
	}
}

// CheckNewestCheckpoint is CheckCheckpoint for the newest one there is, while
// others are completed.
func (f *Flusher) CheckNewestCheckpoint() {
	f.t.Helper()
	Until(f.t, "a checkpoint of "+f.Config.Job+" that is not subsumed while it is read", func() error {
		return f.checkCheckpoint(f.c.WaitCheckpoint(f.JobID, 0))
	})
}

func (f *Flusher) checkCheckpoint(k *holdfastv1.Checkpoint) error {
	cut := map[uint32]int64{}
	for _, a := range k.Acks {
		for _, p := range a.Positions {
			cut[p.Partition] = p.NextOffset
		}
	}
	if len(cut) != f.Config.Partitions {
		return Stop("checkpoint %d of %s has positions of %d partitions, not %d", k.Id, f.Config.Job, len(cut), f.Config.Partitions)
	}
	all, err := f.c.Scan(f.c.RunningNodes()[0], StateRef{Job: f.JobID, Operator: FlusherOperator, State: FlusherState, Checkpoint: k.Id}, 0)
	if err != nil {
		return err
	}
	got := map[string]int64{}
	for key, v := range all {
		got[key] = mustInt64(f.c, key, v)
	}
	if d := Difference(got, FlusherSums(cut, f.Config.Ops, f.Config.Keys)); d != "" {
		return Stop("checkpoint %d of %s at %v: %s", k.Id, f.Config.Job, cut, d)
	}
	return nil
}
