package harness

import (
	"encoding/binary"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"
)

// Feed is the source of operators: partitions of records whose content follows
// from a seed and the offset, so that the oracle can compute them again. The
// test says how many there are yet, and which of them are gone, in a file that
// operator processes read: 8 bytes a partition for the next offset to be
// written, then 8 bytes for the first one that is still there.
type Feed struct {
	Path       string
	Seed       uint64
	Keys       int
	Partitions int

	t    testing.TB
	file *os.File
	mu   sync.Mutex
	head []int64
}

// NewFeed makes an empty feed.
func NewFeed(t testing.TB, partitions, keys int) *Feed {
	t.Helper()
	f := &Feed{Path: filepath.Join(t.TempDir(), "feed"), Seed: uint64(time.Now().UnixNano()), Keys: keys, Partitions: partitions, t: t, head: make([]int64, partitions)}
	file, err := os.Create(f.Path)
	if err != nil {
		t.Fatal(err)
	}
	f.file = file
	t.Cleanup(func() { _ = file.Close() }) // each write was looked at
	if _, err := file.WriteAt(make([]byte, 16*partitions), 0); err != nil {
		t.Fatal(err)
	}
	return f
}

// Produce adds n records to each partition.
func (f *Feed) Produce(n int64) {
	f.mu.Lock()
	defer f.mu.Unlock()
	for p := range f.head {
		f.head[p] += n
		f.put(p, f.head[p])
	}
}

// DropBefore removes the records of a partition before an offset.
func (f *Feed) DropBefore(partition int, offset int64) { f.put(f.Partitions+partition, offset) }

func (f *Feed) put(at int, v int64) {
	if _, err := f.file.WriteAt(binary.LittleEndian.AppendUint64(nil, uint64(v)), int64(at)*8); err != nil {
		f.t.Errorf("write the feed: %v", err)
	}
}

// Heads are the next offsets to be written.
func (f *Feed) Heads() map[uint32]int64 {
	f.mu.Lock()
	defer f.mu.Unlock()
	out := map[uint32]int64{}
	for p, h := range f.head {
		out[uint32(p)] = h
	}
	return out
}

// Flow produces n records a partition every few milliseconds until stop is
// called or the test ends.
func (f *Feed) Flow(n int64, every time.Duration) (stop func()) {
	done := make(chan struct{})
	var wg sync.WaitGroup
	wg.Go(func() {
		tick := time.NewTicker(every)
		defer tick.Stop()
		for {
			select {
			case <-tick.C:
				f.Produce(n)
			case <-done:
				return
			}
		}
	})
	stop = sync.OnceFunc(func() { close(done); wg.Wait() })
	f.t.Cleanup(stop)
	return stop
}

// OperatorConfig tells an operator process what to do. It counts records by
// key.
type OperatorConfig struct {
	Job        string
	FeedPath   string
	Seed       uint64
	Keys       int
	Partitions int
	// Parallelism above 1 is co-partitioned, and 1 with CoPartitioned.
	Parallelism   int
	CoPartitioned bool
	Slots         int
	CheckpointMs  int64
	TimeoutMs     int64
	Retained      uint32
	// Tolerable is how many checkpoints may fail one after the other.
	Tolerable   uint32
	AtLeastOnce bool
	MaxBytes    uint64
	// StateBackend is where the state is; "": memory. Directory and Incremental say
	// where and how checkpoints go.
	StateBackend, Directory string
	Incremental             bool
	// InlineBytes is up to which size state is no file; 0: what users get. Retain keeps
	// the checkpoints of a job that is cancelled.
	InlineBytes int
	Retain      bool
	// Configured sets neither backend, storage nor checkpoints, so that the
	// configuration of the process counts; with StateBackend or Directory only those.
	Configured bool
	// UID is the operator's; "": OperatorUID.
	UID string
	// Earliest begins at the first record instead of the newest.
	Earliest bool
	// Limit ends the source at this offset of each partition; 0: it is unbounded.
	Limit int64
	// Print writes "partition offset key count" for each record.
	Print bool
	// HeadFile writes the next offset after the highest one of partition 0 that the
	// process has processed, for Operator.Head.
	HeadFile bool
	// Restart is "", "none", "fixed-delay:<attempts>:<ms>" or
	// "exponential-delay:<initial ms>:<max ms>:<attempts>".
	Restart string
	// FailFile holds how many failures are left; user code fails at FailAt of
	// partition 0 while there are any.
	FailFile string
	FailAt   int64
	// StallFile makes user code hang as long as the file is there.
	StallFile string
	// NoSource makes the source one that does not exist.
	NoSource bool
	// Kinds keeps states of every kind; see KindList and the others.
	Kinds bool
	// Generation above 0 puts an operator with operator state before the counter; see
	// OperatorStateUID.
	Generation int
	// OperatorStateBytes puts an element of this size into operator state for each record
	// that keeps one.
	OperatorStateBytes int
	// ValueBytes keeps RecordValue of the newest record of a key instead of counts.
	ValueBytes int
	// ForgottenKeyBy keys by hash at a parallelism above 1.
	ForgottenKeyBy bool
}

// EnvOperator carries an OperatorConfig, as JSON, to the process that is one.
const EnvOperator = "HOLDFAST_TEST_OPERATOR"

// The operator's uids and its state.
const (
	OperatorSource = "feed"
	OperatorUID    = "counter"
	OperatorState  = "counts"
)

// HeadName is the file of OperatorConfig.HeadFile, in the process's directory.
const HeadName = "head"

// Line is one line that an operator printed.
type Line struct {
	Partition uint32
	Offset    int64
	Key       string
	Count     int64
}

// ParseLines reads what operators printed. A last line that is cut off by a
// kill is left out.
func ParseLines(text string) ([]Line, error) {
	var out []Line
	for _, l := range strings.SplitAfter(text, "\n") {
		if !strings.HasSuffix(l, "\n") {
			continue
		}
		w := strings.Fields(l)
		if len(w) != 4 {
			return out, fmt.Errorf("%q is no line of an operator", l)
		}
		p, err1 := strconv.ParseUint(w[0], 10, 32)
		o, err2 := strconv.ParseInt(w[1], 10, 64)
		n, err3 := strconv.ParseInt(w[3], 10, 64)
		if err1 != nil || err2 != nil || err3 != nil {
			return out, fmt.Errorf("%q is no line of an operator", l)
		}
		out = append(out, Line{uint32(p), o, w[2], n})
	}
	return out, nil
}

// CheckFinal waits until a job has counted the whole feed from the offsets
// given, and compares its live state with it.
func (f *Feed) CheckFinal(c *Cluster, job string, from map[uint32]int64) map[string]int64 {
	c.t.Helper()
	want := RecordCounts(f.Seed, from, f.Heads(), f.Keys)
	ref := StateRef{Job: job, Operator: OperatorUID, State: OperatorState}
	var got map[string]int64
	Until(c.t, fmt.Sprintf("job %q to have counted %d records", job, Sum(want)), func() error {
		got = c.Counts(ref)
		if maps.Equal(got, want) {
			return nil
		}
		err := fmt.Errorf("counted %d: %s", Sum(got), Difference(got, want))
		if Sum(got) > Sum(want) {
			return errStop{err}
		}
		return err
	})
	return got
}

// CheckCheckpoint compares the state of a retained checkpoint with the records
// up to its positions: both are one cut (invariants 2 and 10).
func (f *Feed) CheckCheckpoint(c *Cluster, job string, from map[uint32]int64, k PositionedCheckpoint) {
	c.t.Helper()
	want := RecordCounts(f.Seed, from, k.Positions, f.Keys)
	if d := Difference(k.Counts, want); d != "" {
		c.t.Fatalf("checkpoint %d of %s at %v: %s", k.ID, job, k.Positions, d)
	}
}

// PositionedCheckpoint is a completed checkpoint, read out.
type PositionedCheckpoint struct {
	ID        uint64
	Positions map[uint32]int64
	Counts    map[string]int64
}

// ReadCheckpoint reads a completed checkpoint after a given one whose state is
// still retained.
func (c *Cluster) ReadCheckpoint(job string, after uint64) PositionedCheckpoint {
	c.t.Helper()
	out := PositionedCheckpoint{}
	Until(c.t, fmt.Sprintf("the state of a checkpoint of %q after %d", job, after), func() error {
		k := c.WaitCheckpoint(job, after)
		out = PositionedCheckpoint{ID: k.Id, Positions: map[uint32]int64{}, Counts: map[string]int64{}}
		for _, a := range k.Acks {
			for _, p := range a.Positions {
				out.Positions[p.Partition] = p.NextOffset
			}
		}
		// It may be subsumed while it is read.
		all, err := c.Scan(c.RunningNodes()[0], StateRef{Job: job, Operator: OperatorUID, State: OperatorState, Checkpoint: k.Id}, 0)
		for key, v := range all {
			out.Counts[key] = mustInt64(c, key, v)
		}
		return err
	})
	return out
}
