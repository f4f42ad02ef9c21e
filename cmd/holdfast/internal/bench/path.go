package bench

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"sync"
	"time"

	"github.com/holdfast-io/holdfast/cmd/holdfast/internal/bug"
	holdfastv1 "github.com/holdfast-io/holdfast/proto/holdfast/v1"
)

// PathConfig says how much state to work on, and how long.
type PathConfig struct {
	// Keys are shared among Slots streams.
	Keys, Slots int
	// CacheBytes is what rocksdb, and Pebble beside it, take for their caches.
	CacheBytes int64
	// Rounds of Batches batches a slot; of the filesystem backend inMemory times as
	// many, so that its rounds are no shorter than those of the others.
	Rounds, Batches int
	// Backends are measured beside each other; Peer adds Pebble embedded in this
	// process.
	Backends []string
	Peer     bool
}

// PathReport is what reading, changing and writing batches takes, over the stream
// without a working copy.
type PathReport struct {
	Machine    Machine   `json:"machine"`
	Keys       int       `json:"keys"`
	Slots      int       `json:"slots"`
	Batch      int       `json:"batch"`
	CacheBytes int64     `json:"cache_bytes"`
	Peers      []PathRow `json:"peers"`
	// RocksDBToPebble is the rate of rocksdb over the stream by that of Pebble
	// embedded, round by round; of processor time it is the other way round.
	RocksDBToPebble    *Spread `json:"rocksdb_to_pebble,omitempty"`
	RocksDBToPebbleCPU *Spread `json:"rocksdb_to_pebble_cpu,omitempty"`
}

// PathRow is one backend, or Pebble.
type PathRow struct {
	Name string `json:"name"`
	// PerSecond is read-modify-writes a second.
	PerSecond Spread `json:"per_second"`
	// Processor seconds of a million of them: of this process, which is the client or
	// has Pebble inside, and of the node.
	ClientCPU Spread `json:"client_cpu_seconds_per_million"`
	HostCPU   Spread `json:"host_cpu_seconds_per_million"`

	rates, client, host []float64
}

// worker counts the batches of a load: a stream, or Pebble.
type worker interface {
	run(o *load) error
	check(o *load) error
}

// pathPeer is what takes turns: a worker and a load for each slot.
type pathPeer struct {
	row     *PathRow
	pid     int // 0: no node works for it
	times   int // how many times the batches of a round
	workers []worker
	loads   []*load
}

// Path measures the state path.
func Path(ctx context.Context, cfg Config, f PathConfig) (r *PathReport, err error) {
	r = &PathReport{Machine: ThisMachine(), Keys: f.Keys, Slots: f.Slots, Batch: batchKeys, CacheBytes: f.CacheBytes}
	c, err := openSized(ctx, cfg, alone, "--state-cache-size", fmt.Sprintf("%d bytes", f.CacheBytes))
	if err != nil {
		return nil, err
	}
	defer closing(c, &err)
	peers, end, err := c.pathPeers(ctx, f)
	defer func() { err = errors.Join(err, end()) }()
	if err != nil {
		return nil, err
	}
	if err := measurePath(cfg, f, peers); err != nil {
		return nil, err
	}
	cfg.Note("comparing every count")
	for _, p := range peers {
		if err := p.check(); err != nil {
			return nil, fmt.Errorf("%s: %w", p.row.Name, err)
		}
		row := *p.row
		row.PerSecond, row.ClientCPU, row.HostCPU = spreadOf(row.rates), spreadOf(row.client), spreadOf(row.host)
		r.Peers = append(r.Peers, row)
	}
	r.compare()
	return r, nil
}

// compare makes the ratios, where both peers were there.
func (r *PathReport) compare() {
	rows := map[string]*PathRow{}
	for i := range r.Peers {
		rows[r.Peers[i].Name] = &r.Peers[i]
	}
	a, b := rows["rocksdb"], rows[pebbleRow]
	if a == nil || b == nil {
		return
	}
	rates := spreadOf(each(a.rates, b.rates, ratio))
	both := each(a.client, a.host, func(x, y float64) float64 { return x + y })
	cpu := spreadOf(each(b.client, both, ratio))
	r.RocksDBToPebble, r.RocksDBToPebbleCPU = &rates, &cpu
}

const pebbleRow = "Pebble embedded"

// inMemory is about how much faster state in memory is than state on the disk.
const inMemory = 8

// pathPeers opens what takes turns. end closes it, also after an error.
func (c *cluster) pathPeers(ctx context.Context, f PathConfig) (peers []*pathPeer, end func() error, err error) {
	var ends []func() error
	end = func() (err error) {
		for _, e := range ends {
			err = errors.Join(err, e())
		}
		return err
	}
	host, _, err := c.nodes(ctx)
	if err != nil {
		return nil, end, err
	}
	for _, name := range f.Backends {
		p := &pathPeer{row: &PathRow{Name: name}, pid: host.pid, times: 1, loads: f.loads()}
		if name == "filesystem" {
			p.times = inMemory
		}
		peers = append(peers, p)
		for range f.Slots {
			l, err := c.openLane(ctx, host.address, hostSpec(name))
			if err != nil {
				return nil, end, err
			}
			ends = append(ends, func() error { l.close(); return nil })
			p.workers = append(p.workers, l)
		}
	}
	if !f.Peer {
		return peers, end, nil
	}
	dir, err := os.MkdirTemp("", "holdfast-bench-pebble-")
	if err != nil {
		return nil, end, err
	}
	trees, err := openEmbedded(dir, f.Slots, f.CacheBytes)
	p := &pathPeer{row: &PathRow{Name: pebbleRow}, times: 1, loads: f.loads()}
	for _, t := range trees {
		ends, p.workers = append(ends, t.close), append(p.workers, t)
	}
	ends = append(ends, func() error { return os.RemoveAll(dir) })
	return append(peers, p), end, err
}

func (f PathConfig) loads() (out []*load) {
	for range f.Slots {
		out = append(out, newLoad(f.Keys/f.Slots))
	}
	return out
}

// hostSpec is a job without checkpoints on a backend.
func hostSpec(backend string) *holdfastv1.JobSpec {
	s := spec(jobName(), 0)
	s.StateBackend = &holdfastv1.StateBackend{Name: backend}
	return s
}

// measurePath fills the state, and lets the peers take turns. The first round is
// not counted.
func measurePath(cfg Config, f PathConfig, peers []*pathPeer) error {
	cfg.Note("writing every key")
	for _, p := range peers {
		for _, l := range p.loads {
			l.all()
		}
		if err := p.run(); err != nil {
			return fmt.Errorf("%s: %w", p.row.Name, err)
		}
	}
	for round := range f.Rounds + 1 {
		cfg.Note(fmt.Sprintf("round %d of %d", round, f.Rounds))
		for _, p := range peers {
			for i, l := range p.loads {
				l.draw(rand.New(rand.NewPCG(uint64(round), uint64(i))), f.Batches*p.times)
			}
			if err := p.round(round > 0); err != nil {
				return fmt.Errorf("%s: %w", p.row.Name, err)
			}
		}
	}
	return nil
}

// round counts the batches in hand and takes the time.
func (p *pathPeer) round(counts bool) error {
	changes := 0
	for _, l := range p.loads {
		changes += l.changes()
	}
	host, err := p.hostCPU()
	if err != nil {
		return err
	}
	client, began := ownCPU(), time.Now()
	if err := p.run(); err != nil {
		return err
	}
	took, clientTook := time.Since(began), ownCPU()-client
	hostNow, err := p.hostCPU()
	if err != nil || !counts {
		return err
	}
	million := float64(changes) / 1e6
	p.row.rates = append(p.row.rates, float64(changes)/took.Seconds())
	p.row.client = append(p.row.client, clientTook.Seconds()/million)
	p.row.host = append(p.row.host, (hostNow-host).Seconds()/million)
	return nil
}

func (p *pathPeer) hostCPU() (time.Duration, error) {
	if p.pid == 0 {
		return 0, nil
	}
	return cpuOf(p.pid)
}

func (p *pathPeer) run() error {
	return p.together(func(w worker, l *load) error { return w.run(l) })
}

func (p *pathPeer) check() error {
	return p.together(func(w worker, l *load) error { return w.check(l) })
}

func (p *pathPeer) together(do func(w worker, l *load) error) error {
	var wg sync.WaitGroup
	errs := make([]error, len(p.workers))
	for i, w := range p.workers {
		wg.Go(bug.Guarded(func() { errs[i] = do(w, p.loads[i]) }))
	}
	wg.Wait()
	return errors.Join(errs...)
}
