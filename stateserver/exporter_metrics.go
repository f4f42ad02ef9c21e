package stateserver

import "github.com/prometheus/client_golang/prometheus"

// exportMetrics are what the exporter counts, on the node that leads.
type exportMetrics struct {
	seconds  *prometheus.HistogramVec
	failures *prometheus.CounterVec
	deleted  *prometheus.CounterVec
}

func newExportMetrics() *exportMetrics {
	m := &exportMetrics{
		seconds: prometheus.NewHistogramVec(prometheus.HistogramOpts{Name: "holdfast_stateserver_export_seconds", Buckets: prometheus.ExponentialBuckets(0.001, 4, 10),
			Help: "Time of writing a checkpoint's metadata (with memory: its state too) or a savepoint, by kind: checkpoint, savepoint. Counted on the leader."}, []string{"kind"}),
		failures: counterVec("holdfast_stateserver_export_failures_total",
			"Tries that failed, by kind: checkpoint and savepoint for what is written, deletion, orphans for looking through directories. Counted on the leader.", "kind"),
		deleted: counterVec("holdfast_stateserver_deleted_files_total",
			"Files and directories of checkpoints that were deleted, by reason: subsumed by a newer checkpoint, job_ended, claimed by the job that was restored from them, orphan of an upload that was given up. Counted on the leader.", "reason"),
	}
	for _, k := range []taskKind{exportMetadata, exportSavepoint} {
		m.seconds.WithLabelValues(string(k))
	}
	for _, k := range []taskKind{exportMetadata, exportSavepoint, deleteFiles, collectOrphans} {
		m.failures.WithLabelValues(string(k))
	}
	for _, r := range []string{"subsumed", "job_ended", "claimed", "orphan"} {
		m.deleted.WithLabelValues(r)
	}
	return m
}

func (m *exportMetrics) all() []prometheus.Collector {
	return []prometheus.Collector{m.seconds, m.failures, m.deleted}
}
