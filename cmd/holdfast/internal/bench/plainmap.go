package bench

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"sync"
	"sync/atomic"
	"time"

	holdfast "github.com/holdfast-io/holdfast/clients/go"
	"github.com/holdfast-io/holdfast/clients/go/datagen"
	"github.com/holdfast-io/holdfast/clients/go/source"
	"github.com/holdfast-io/holdfast/cmd/holdfast/internal/bug"
)

// pollRecords is what one poll of a source takes, in the client too.
const pollRecords = 1024

// workingCopyBytes holds every key of the measurement.
const workingCopyBytes = 1 << 30

// gate lets a source read only while it is open, so that another counter of the
// same process can have its turn.
type gate struct {
	mu   sync.Mutex
	open chan struct{} // closed while the gate is open
}

func newGate() *gate { return &gate{open: make(chan struct{})} }

func (g *gate) set(open bool) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if open {
		close(g.open)
	} else {
		g.open = make(chan struct{})
	}
}

// pass waits a moment for the gate to open.
func (g *gate) pass(ctx context.Context) bool {
	g.mu.Lock()
	open := g.open
	g.mu.Unlock()
	select {
	case <-open:
		return true
	case <-ctx.Done():
	case <-time.After(10 * time.Millisecond):
	}
	return false
}

// gatedSource is a source behind a gate.
type gatedSource struct {
	source.Source
	gate *gate
}

// Open implements source.Source.
func (s gatedSource) Open(ctx context.Context, o source.OpenOptions) (source.Reader, error) {
	r, err := s.Source.Open(ctx, o)
	return gatedReader{r, s.gate}, err
}

type gatedReader struct {
	source.Reader
	gate *gate
}

// Poll implements source.Reader.
func (r gatedReader) Poll(ctx context.Context, b *source.Batch, max int) error {
	if !r.gate.pass(ctx) {
		return nil
	}
	return r.Reader.Poll(ctx, b, max)
}

// plainCounter is the same loop on a plain map: the same source, read in a goroutine
// of its own one batch ahead, the same deserializer, and nothing else.
type plainCounter struct {
	reader source.Reader
	counts map[string]int64
	total  int64
}

func newPlainCounter(ctx context.Context, keys int64) (*plainCounter, error) {
	r, err := generator(keys).Open(ctx, source.OpenOptions{Splits: []source.Split{{Topic: "datagen", Resolved: true}}})
	return &plainCounter{reader: r, counts: map[string]int64{}}, err
}

func generator(keys int64) *datagen.Source { return datagen.NewSource(datagen.Options{Keys: keys}) }

// exactly counts the first records.
func (p *plainCounter) exactly(ctx context.Context, records int64) error {
	var b source.Batch
	for p.total < records {
		b.Reset()
		if err := p.reader.Poll(ctx, &b, int(min(pollRecords, records-p.total))); err != nil {
			return err
		}
		if err := p.add(&b); err != nil {
			return err
		}
	}
	return nil
}

func (p *plainCounter) add(b *source.Batch) error {
	for i := range b.Len() {
		key, err := deserialize(source.Record{Key: b.Key(i)})
		if err != nil {
			return err
		}
		p.counts[key]++
	}
	p.total += int64(b.Len())
	return nil
}

// run counts until more returns false, which is asked for each batch.
func (p *plainCounter) run(ctx context.Context, more func() bool) error {
	full, empty := make(chan *source.Batch), make(chan *source.Batch, 2)
	ctx, stop := context.WithCancel(ctx)
	var failed error
	var reading sync.WaitGroup
	defer reading.Wait()
	defer stop()
	empty <- &source.Batch{}
	empty <- &source.Batch{}
	reading.Go(bug.Guarded(func() {
		defer close(full)
		for failed == nil {
			var b *source.Batch
			select {
			case b = <-empty:
			case <-ctx.Done():
				return
			}
			b.Reset()
			failed = p.reader.Poll(ctx, b, pollRecords)
			select {
			case full <- b:
			case <-ctx.Done():
				return
			}
		}
	}))
	for b := range full {
		if err := p.add(b); err != nil || !more() {
			return err
		}
		empty <- b
	}
	return failed
}

// reset makes the reader go on behind what was counted.
func (p *plainCounter) reset(ctx context.Context, keys int64) (err error) {
	p.reader, err = generator(keys).Open(ctx, source.OpenOptions{Splits: []source.Split{{Topic: "datagen", StartOffset: p.total, Resolved: true}}})
	return err
}

func deserialize(r holdfast.Record) (string, error) { return string(r.Key), nil }

// PlainMapConfig is what the operator of MapPeer can be told.
type PlainMapConfig struct {
	Job, Directory   string
	Keys             int64
	Interval         time.Duration
	WarmUp, Duration time.Duration
	Rounds, NodePid  int
}

// mapRound is one turn of both.
type mapRound struct{ Job, Plain mapTurn }

// mapTurn is what one of them counted.
type mapTurn struct{ Records, Seconds, CPU, NodeCPU float64 }

// mapLine is what the operator says when all rounds are over. Counted is how many
// records the job has counted by then; it counts no more.
type mapLine struct {
	Rounds  []mapRound
	Counted int64
}

// CounterBesideMap is the operator of MapPeer: a job on the filesystem backend and a
// plain map take turns.
func CounterBesideMap(ctx context.Context, cfg PlainMapConfig, out io.Writer) error {
	var counted atomic.Int64
	g := newGate()
	env := holdfast.GetExecutionEnvironment()
	env.EnableCheckpointing(cfg.Interval)
	env.EnableIncrementalCheckpoints(true)
	env.SetCheckpointStorage(cfg.Directory)
	env.SetStateBackend(holdfast.FilesystemStateBackend{})
	env.SetWorkingCopySize(workingCopyBytes)
	records := holdfast.FromSource(env, "generator", gatedSource{generator(cfg.Keys), g}, deserialize)
	holdfast.FlatMap(holdfast.KeyBy(records, func(k string) string { return k }), counterUID, &countByKey{counted: &counted}).Print()
	ended := make(chan error, 1)
	bug.Go(func() { ended <- env.Execute(ctx, cfg.Job) })
	plain, err := newPlainCounter(ctx, cfg.Keys)
	if err != nil {
		return err
	}
	m := &mapMeasure{cfg: cfg, gate: g, counted: &counted, plain: plain, ended: ended}
	line, err := m.run(ctx)
	if err != nil {
		return err
	}
	if err := json.NewEncoder(out).Encode(line); err != nil {
		return err
	}
	return <-ended
}

type mapMeasure struct {
	cfg     PlainMapConfig
	gate    *gate
	counted *atomic.Int64
	plain   *plainCounter
	ended   chan error
}

// warmUpRecords is how many records of a key go before the measurement, on the
// average: of a hundred keys that come at random one is missing then.
const warmUpRecords = 5

// run lets both warm up, so that each has nearly every key, and then take turns.
func (m *mapMeasure) run(ctx context.Context) (line mapLine, err error) {
	for i := range m.cfg.Rounds + 1 {
		d, least := m.cfg.Duration, int64(0)
		if i == 0 {
			d, least = m.cfg.WarmUp, warmUpRecords*m.cfg.Keys
		}
		var r mapRound
		if r.Job, err = m.job(d, least); err != nil {
			return line, err
		}
		if r.Plain, err = m.plainMap(ctx, d, least); err != nil {
			return line, err
		}
		if i > 0 {
			line.Rounds = append(line.Rounds, r)
		}
	}
	line.Counted = m.counted.Load()
	return line, nil
}

// turn reads the clocks around a turn.
func (m *mapMeasure) turn(do func() (records int64, err error)) (t mapTurn, err error) {
	node, err := cpuOf(m.cfg.NodePid)
	if err != nil {
		return t, err
	}
	began, own := time.Now(), ownCPU()
	n, err := do()
	if err != nil {
		return t, err
	}
	t = mapTurn{Records: float64(n), Seconds: time.Since(began).Seconds(), CPU: (ownCPU() - own).Seconds()}
	now, err := cpuOf(m.cfg.NodePid)
	t.NodeCPU = (now - node).Seconds()
	return t, err
}

func (m *mapMeasure) job(d time.Duration, least int64) (mapTurn, error) {
	t, err := m.turn(func() (int64, error) {
		from := m.counted.Load()
		m.gate.set(true)
		for end := time.After(d); ; end = time.After(d / 8) {
			select {
			case err := <-m.ended:
				return 0, fmt.Errorf("the job ended: %w", err)
			case <-end:
			}
			if m.counted.Load()-from >= least {
				break
			}
		}
		return m.counted.Load() - from, nil
	})
	m.gate.set(false)
	if err != nil {
		return t, err
	}
	// What it has in hand is processed, and what that changed is flushed, before the
	// other one has its turn.
	for last := int64(-1); last != m.counted.Load(); {
		last = m.counted.Load()
		time.Sleep(2*m.cfg.Interval + 100*time.Millisecond)
	}
	return t, nil
}

func (m *mapMeasure) plainMap(ctx context.Context, d time.Duration, least int64) (mapTurn, error) {
	t, err := m.turn(func() (int64, error) {
		from, end := m.plain.total, time.Now().Add(d)
		err := m.plain.run(ctx, func() bool {
			return time.Now().Before(end) || m.plain.total-from < least
		})
		return m.plain.total - from, err
	})
	if err != nil {
		return t, err
	}
	return t, m.plain.reset(ctx, m.cfg.Keys)
}
