package raftstore

import (
	"io/fs"
	"os"
	"path/filepath"
	"sync"
	"time"

	"github.com/hashicorp/raft"
	"github.com/prometheus/client_golang/prometheus"

	"github.com/holdfast-io/holdfast/coordinator"
	"github.com/holdfast-io/holdfast/raftstore/keyed"
)

// metrics are what a node counts and times as it goes. What can be read off at
// any time is left to nodeCollector and stateCollector, which cost nothing
// until somebody asks.
type metrics struct {
	leaderChanges prometheus.Counter
	// By Class of the outcome; Final is "decided".
	proposals     [3]prometheus.Counter
	commitSeconds prometheus.Histogram

	logWriteSeconds prometheus.Histogram
	logEntries      prometheus.Counter
	logBytes        prometheus.Counter

	snapshotSeconds  prometheus.Histogram
	snapshotBytes    prometheus.Gauge
	snapshotsFailed  prometheus.Counter
	snapshotInstalls prometheus.Counter

	all []prometheus.Collector

	mu     sync.Mutex
	leader raft.ServerID // the last one that was seen
}

// latencyBuckets go from 100 µs to 6.5 s.
func latencyBuckets() []float64 { return prometheus.ExponentialBuckets(0.0001, 2, 17) }

func newMetrics() *metrics {
	m := &metrics{
		leaderChanges: prometheus.NewCounter(prometheus.CounterOpts{
			Name: "holdfast_raft_leader_changes_total", Help: "Leaders that this node saw come, its first one too."}),
		commitSeconds: prometheus.NewHistogram(prometheus.HistogramOpts{
			Name: "holdfast_raft_commit_seconds", Buckets: latencyBuckets(),
			Help: "Time from handing a proposal to Raft until it is committed and applied, on the leader."}),
		logWriteSeconds: prometheus.NewHistogram(prometheus.HistogramOpts{
			Name: "holdfast_raft_log_write_seconds", Buckets: latencyBuckets(),
			Help: "Time of one write of entries to the log on disk, with its fsync. raft.log-store-deadline bounds it."}),
		logEntries: prometheus.NewCounter(prometheus.CounterOpts{
			Name: "holdfast_raft_log_entries_written_total", Help: "Entries written to the log on disk."}),
		logBytes: prometheus.NewCounter(prometheus.CounterOpts{
			Name: "holdfast_raft_log_written_bytes_total", Help: "Bytes of the entries written to the log on disk."}),
		snapshotSeconds: prometheus.NewHistogram(prometheus.HistogramOpts{
			Name: "holdfast_raft_snapshot_seconds", Buckets: prometheus.ExponentialBuckets(0.001, 4, 10),
			Help: "Time to write one snapshot. Entries are applied meanwhile."}),
		snapshotBytes: prometheus.NewGauge(prometheus.GaugeOpts{
			Name: "holdfast_raft_snapshot_bytes", Help: "Size of the state in the newest snapshot that this node wrote since it started."}),
		snapshotsFailed: prometheus.NewCounter(prometheus.CounterOpts{
			Name: "holdfast_raft_snapshots_failed_total", Help: "Snapshots that could not be written. The log is kept, and the next one is tried."}),
		snapshotInstalls: prometheus.NewCounter(prometheus.CounterOpts{
			Name: "holdfast_raft_snapshots_installed_total", Help: "Snapshots that this node took from a leader because the log did not reach back far enough."}),
	}
	proposals := prometheus.NewCounterVec(prometheus.CounterOpts{
		Name: "holdfast_raft_proposals_total",
		Help: "Proposals to this node by outcome: decided (applied, whatever the result), not_applied, unknown (leadership was lost or the node stopped meanwhile).",
	}, []string{"outcome"})
	m.proposals[NotApplied] = proposals.WithLabelValues("not_applied")
	m.proposals[Unknown] = proposals.WithLabelValues("unknown")
	m.proposals[Final] = proposals.WithLabelValues("decided")
	m.all = []prometheus.Collector{
		m.leaderChanges, proposals, m.commitSeconds, m.logWriteSeconds, m.logEntries, m.logBytes,
		m.snapshotSeconds, m.snapshotBytes, m.snapshotsFailed, m.snapshotInstalls,
	}
	return m
}

// settled counts the outcome of a proposal.
func (m *metrics) settled(err error) { m.proposals[Outcome(err)].Inc() }

// committed times a proposal that Raft took at start.
func (m *metrics) committed(start time.Time) { m.commitSeconds.Observe(time.Since(start).Seconds()) }

// wrote times a write of entries.
func (m *metrics) wrote(start time.Time, logs ...*raft.Log) {
	m.logWriteSeconds.Observe(time.Since(start).Seconds())
	bytes := 0
	for _, l := range logs {
		bytes += len(l.Data)
	}
	m.logEntries.Add(float64(len(logs)))
	m.logBytes.Add(float64(bytes))
}

// snapshot counts a snapshot that was written, or was not.
func (m *metrics) snapshot(start time.Time, w *snapshotWriter, err error) {
	if err != nil {
		m.snapshotsFailed.Inc()
		return
	}
	m.snapshotSeconds.Observe(time.Since(start).Seconds())
	m.snapshotBytes.Set(float64(w.total))
}

// sawLeader counts the leader that Raft tells of, if it is another one.
func (m *metrics) sawLeader(id raft.ServerID) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if id != "" && id != m.leader {
		m.leader = id
		m.leaderChanges.Inc()
	}
}

// The metrics of nodeCollector.
var (
	isLeaderDesc       = prometheus.NewDesc("holdfast_raft_is_leader", "1 while this node believes that it leads.", nil, nil)
	termDesc           = prometheus.NewDesc("holdfast_raft_term", "Term of this node.", nil, nil)
	lastIndexDesc      = prometheus.NewDesc("holdfast_raft_last_index", "End of the log on this node, committed or not.", nil, nil)
	commitIndexDesc    = prometheus.NewDesc("holdfast_raft_commit_index", "How far this node knows the log to be committed.", nil, nil)
	appliedIndexDesc   = prometheus.NewDesc("holdfast_raft_applied_index", "How far this node has applied the log. Compare it with that of the leader.", nil, nil)
	snapshotIndexDesc  = prometheus.NewDesc("holdfast_raft_snapshot_index", "Index of the newest snapshot, 0 if there is none.", nil, nil)
	pendingDesc        = prometheus.NewDesc("holdfast_raft_proposals_pending", "Proposals of this node whose outcome is not known yet.", nil, nil)
	pendingBytesDesc   = prometheus.NewDesc("holdfast_raft_proposals_pending_bytes", "Their size.", nil, nil)
	haltedDesc         = prometheus.NewDesc("holdfast_raft_halted", "1 when this node applies nothing any more, because its copy would differ.", nil, nil)
	leaderContactDesc  = prometheus.NewDesc("holdfast_raft_leader_contact_age_seconds", "Time since this node heard of the leader; 0 on the leader itself, not there before the first contact.", nil, nil)
	peerContactDesc    = prometheus.NewDesc("holdfast_raft_peer_contact_age_seconds", "On the leader: age of the newest message that a member has answered. Not there before the first one.", []string{"peer"}, nil)
	membersDesc        = prometheus.NewDesc("holdfast_raft_members", "Members in the newest configuration that this node knows.", []string{"voter"}, nil)
	storeBytesDesc     = prometheus.NewDesc("holdfast_raft_log_store_bytes", "Size of the file of log and votes. It is reused and does not shrink.", nil, nil)
	snapshotsBytesDesc = prometheus.NewDesc("holdfast_raft_snapshots_disk_bytes", "Size of the snapshots on disk.", nil, nil)
)

// nodeCollector reads off a node.
type nodeCollector struct{ n *Node }

// Describe implements prometheus.Collector.
func (c nodeCollector) Describe(ch chan<- *prometheus.Desc) {
	for _, d := range []*prometheus.Desc{
		isLeaderDesc, termDesc, lastIndexDesc, commitIndexDesc, appliedIndexDesc, snapshotIndexDesc, pendingDesc, pendingBytesDesc,
		haltedDesc, leaderContactDesc, peerContactDesc, membersDesc, storeBytesDesc, snapshotsBytesDesc,
	} {
		ch <- d
	}
}

// Collect implements prometheus.Collector.
func (c nodeCollector) Collect(ch chan<- prometheus.Metric) {
	gauge := func(d *prometheus.Desc, v float64, labels ...string) {
		ch <- prometheus.MustNewConstMetric(d, prometheus.GaugeValue, v, labels...)
	}
	s := c.n.Stats()
	gauge(isLeaderDesc, number(s.State == raft.Leader.String()))
	gauge(termDesc, float64(s.Term))
	gauge(lastIndexDesc, float64(s.LastIndex))
	gauge(commitIndexDesc, float64(s.CommitIndex))
	gauge(appliedIndexDesc, float64(s.AppliedIndex))
	gauge(snapshotIndexDesc, float64(s.SnapshotIndex))
	gauge(pendingDesc, float64(s.Pending))
	gauge(pendingBytesDesc, float64(s.PendingBytes))
	gauge(haltedDesc, number(s.Halted))
	if s.SinceContact >= 0 {
		gauge(leaderContactDesc, s.SinceContact.Seconds())
	}
	voters, others := 0, 0
	for _, m := range c.n.Members() {
		if m.Voter {
			voters++
		} else {
			others++
		}
		if age, ok := c.n.contactAge(m.ID); ok {
			gauge(peerContactDesc, age.Seconds(), label(m))
		}
	}
	gauge(membersDesc, float64(voters), "true")
	gauge(membersDesc, float64(others), "false")
	if info, err := os.Stat(c.n.dir.file(storeFile)); err == nil {
		gauge(storeBytesDesc, float64(info.Size()))
	}
	gauge(snapshotsBytesDesc, float64(bytesBelow(c.n.dir.file("snapshots"))))
}

// contactAge is the age of the newest message of this leader that a member
// answered.
func (n *Node) contactAge(id string) (time.Duration, bool) {
	if !n.IsLeader() || id == n.ID() {
		return 0, false
	}
	sent, ok := n.transport.acks.last(raft.ServerID(id))
	return time.Since(sent), ok
}

func label(m Member) string {
	if m.Name != "" {
		return m.Name
	}
	return m.ID
}

func number(b bool) float64 {
	if b {
		return 1
	}
	return 0
}

// bytesBelow adds up the files in a directory. What goes away meanwhile does not
// count.
func bytesBelow(dir string) (n int64) {
	_ = filepath.WalkDir(dir, func(_ string, e fs.DirEntry, err error) error {
		if err != nil || e.IsDir() {
			return nil //nolint:nilerr // see above
		}
		if info, err := e.Info(); err == nil {
			n += info.Size()
		}
		return nil
	})
	return n
}

// The metrics of stateCollector beside those of the coordinator.
var (
	stateLabels = []string{"job", "operator", "state"}
	keysDesc    = prometheus.NewDesc("holdfast_keyed_keys", "Keys of a named state of the memory backend, over all its subtasks.", stateLabels, nil)
	bytesDesc   = prometheus.NewDesc("holdfast_keyed_bytes", "Keys and values of a named state of the memory backend, over all its subtasks.", stateLabels, nil)
	fillDesc    = prometheus.NewDesc("holdfast_keyed_fill_ratio", "The fullest subtask of a named state: its bytes by state.memory.max-size. At 1 the job is suspended with STATE_TOO_LARGE.", stateLabels, nil)
	frozenDesc  = prometheus.NewDesc("holdfast_keyed_frozen_versions", "Versions of subtasks' states that checkpoints keep, over all jobs.", nil, nil)
	memoryDesc  = prometheus.NewDesc("holdfast_keyed_memory_bytes", "Memory of the state of the memory backend, over all jobs: tables and directories of what lives and of the versions that checkpoints keep. What they share counts once.", nil, nil)
)

// stateCollector reads off the replicated state of a node.
type stateCollector struct{ f *fsm }

// Describe implements prometheus.Collector.
func (c stateCollector) Describe(ch chan<- *prometheus.Desc) {
	coordinator.DescribeState(ch)
	for _, d := range []*prometheus.Desc{keysDesc, bytesDesc, fillDesc, frozenDesc, memoryDesc} {
		ch <- d
	}
}

// Collect implements prometheus.Collector. It reads under the lock and sends
// without.
func (c stateCollector) Collect(ch chan<- prometheus.Metric) {
	var out []prometheus.Metric
	c.f.read(func(m *coordinator.Machine, k *keyed.Store) {
		out = append(m.StateMetrics(), keyedMetrics(m, k)...)
	})
	for _, m := range out {
		ch <- m
	}
}

func keyedMetrics(m *coordinator.Machine, k *keyed.Store) []prometheus.Metric {
	var out []prometheus.Metric
	frozen := 0
	counted := map[uint64]bool{}
	for _, s := range m.States() {
		var keys, bytes int64
		fullest := 0.0
		for _, id := range s.Subtasks {
			b, n, err := k.Bytes(id, s.StateID)
			if err != nil {
				continue // its splits are not known yet
			}
			keys, bytes = keys+n, bytes+b
			if s.Limit > 0 {
				fullest = max(fullest, float64(b)/float64(s.Limit))
			}
			if !counted[id] {
				counted[id] = true
				versions, _ := k.Versions(id) // it is there: see above
				frozen += len(versions)
			}
		}
		for d, v := range map[*prometheus.Desc]float64{keysDesc: float64(keys), bytesDesc: float64(bytes), fillDesc: fullest} {
			out = append(out, prometheus.MustNewConstMetric(d, prometheus.GaugeValue, v, s.Job, s.Operator, s.State))
		}
	}
	return append(out, prometheus.MustNewConstMetric(frozenDesc, prometheus.GaugeValue, float64(frozen)),
		prometheus.MustNewConstMetric(memoryDesc, prometheus.GaugeValue, float64(k.MemoryBytes())))
}

// register shows collectors in the registry of a configuration, if there is one.
func register(r prometheus.Registerer, all ...prometheus.Collector) error {
	if r == nil {
		return nil
	}
	for _, c := range all {
		if err := r.Register(c); err != nil {
			return err
		}
	}
	return nil
}
