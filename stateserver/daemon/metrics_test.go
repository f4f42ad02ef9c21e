package daemon

import (
	"bytes"
	"context"
	"flag"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	dto "github.com/prometheus/client_model/go"
	"github.com/prometheus/common/expfmt"
	"github.com/prometheus/common/model"

	"github.com/holdfast-io/holdfast/internal/await"
)

var update = flag.Bool("update", false, "write docs/metrics.md anew")

const metricsPage = "../../docs/metrics.md"

// startNode starts a cluster of one with a port for metrics.
func startNode(t *testing.T, change func(*Config)) *Daemon {
	t.Helper()
	cfg := DefaultConfig()
	cfg.DataDir, cfg.Listen, cfg.PeerListen, cfg.MetricsListen = t.TempDir(), "127.0.0.1:0", "127.0.0.1:0", "127.0.0.1:0"
	cfg.Raft.HeartbeatTimeout, cfg.Raft.NoFsync, cfg.Logger = 50*time.Millisecond, true, slog.New(slog.DiscardHandler)
	if change != nil {
		change(&cfg)
	}
	d, err := Start(context.Background(), cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = d.Close() })
	return d
}

func get(t *testing.T, d *Daemon, path string) (int, string) {
	t.Helper()
	r, err := http.Get("http://" + d.MetricsAddress() + path)
	if err != nil {
		t.Fatal(err)
	}
	defer r.Body.Close()
	b, err := io.ReadAll(r.Body)
	if err != nil {
		t.Fatal(err)
	}
	return r.StatusCode, string(b)
}

func waitReady(t *testing.T, d *Daemon) {
	t.Helper()
	var body string
	await.Until(t, 30*time.Second, "the node to be ready", func() bool {
		code, said := get(t, d, "/readyz")
		body = said
		return code == http.StatusOK
	}, func() string { return body })
}

// TestHTTP_HealthAndMetrics: a lone node is alive and becomes ready, and its
// metrics can be read.
func TestHTTP_HealthAndMetrics(t *testing.T) {
	d := startNode(t, nil)
	waitReady(t, d)
	if code, body := get(t, d, "/healthz"); code != http.StatusOK || body != "ok\n" {
		t.Errorf("/healthz: %d %q", code, body)
	}
	code, body := get(t, d, "/metrics")
	for _, want := range []string{"holdfast_raft_is_leader 1", "holdfast_stateserver_ready 1", "process_resident_memory_bytes", "go_goroutines"} {
		if code != http.StatusOK || !strings.Contains(body, want) {
			t.Errorf("/metrics: %d, without %q", code, want)
		}
	}
	if code, _ := get(t, d, "/debug/pprof/"); code != http.StatusNotFound {
		t.Errorf("/debug/pprof/ is served without debug.pprof: %d", code)
	}
	file, err := os.ReadFile(d.cfg.DataDir + "/" + daemonFile)
	if err != nil || !strings.Contains(string(file), `"metrics_address":"`+d.MetricsAddress()+`"`) {
		t.Errorf("%s does not tell the port: %s, %v", daemonFile, file, err)
	}
}

// TestHTTP_PprofWhereAsked and nowhere else.
func TestHTTP_PprofWhereAsked(t *testing.T) {
	d := startNode(t, func(c *Config) { c.Pprof = true })
	if code, body := get(t, d, "/debug/pprof/"); code != http.StatusOK || !strings.Contains(body, "goroutine") {
		t.Errorf("/debug/pprof/: %d", code)
	}
}

// TestHTTP_NotReadyWhileItWaits: a first member that has not met the others
// lives, is not ready and says why.
func TestHTTP_NotReadyWhileItWaits(t *testing.T) {
	cfg := DefaultConfig()
	cfg.MetricsListen = "127.0.0.1:0"
	p, err := listenHTTP(cfg, newRegistry())
	if err != nil {
		t.Fatal(err)
	}
	defer p.close()
	d := &Daemon{metrics: p}
	if code, _ := get(t, d, "/healthz"); code != http.StatusOK {
		t.Errorf("/healthz: %d", code)
	}
	if code, body := get(t, d, "/readyz"); code != http.StatusServiceUnavailable || !strings.Contains(body, "first members") {
		t.Errorf("/readyz: %d %q", code, body)
	}
}

// TestMetrics_PageIsTheRegistry compares docs/metrics.md with what a node
// registers. `make docs` writes it anew.
func TestMetrics_PageIsTheRegistry(t *testing.T) {
	d := startNode(t, nil)
	waitReady(t, d)
	want := metricsPageText(t, d)
	if *update {
		if err := os.WriteFile(metricsPage, []byte(want), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	got, err := os.ReadFile(metricsPage)
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(got, []byte(want)) {
		t.Error("docs/metrics.md is not what a node registers; write it anew with `make docs`")
	}
}

// described is what a description prints; nothing else of it can be read.
var described = regexp.MustCompile(`^Desc\{fqName: "([^"]+)", help: "(.*)", unit: "[^"]*", constLabels: \{\}, variableLabels: \{([^}]*)\}`)

type metric struct{ name, kind, labels, help string }

// metricsOf lists what the registry of a node describes, and the types of what
// a scrape shows.
func metricsOf(t *testing.T, d *Daemon) []metric {
	t.Helper()
	_, text := get(t, d, "/metrics")
	parser := expfmt.NewTextParser(model.UTF8Validation)
	shown, err := parser.TextToMetricFamilies(strings.NewReader(text))
	if err != nil {
		t.Fatal(err)
	}
	ch := make(chan *prometheus.Desc)
	go func() {
		d.registry.Describe(ch)
		close(ch)
	}()
	var out []metric
	for desc := range ch {
		m := described.FindStringSubmatch(desc.String())
		if m == nil || !strings.HasPrefix(m[1], "holdfast_") {
			continue // Go's and the process's own
		}
		out = append(out, metric{m[1], kindOf(t, m[1], shown), strings.ReplaceAll(m[3], ",", "`, `"), strings.ReplaceAll(m[2], `\"`, `"`)})
	}
	slices.SortFunc(out, func(a, b metric) int { return strings.Compare(a.name, b.name) })
	return out
}

// kindOf tells the type; of what has no series yet the name does, which is
// checked where there is one.
func kindOf(t *testing.T, name string, shown map[string]*dto.MetricFamily) string {
	t.Helper()
	byName := "gauge"
	if strings.HasSuffix(name, "_total") {
		byName = "counter"
	}
	f := shown[name]
	if f == nil {
		return byName
	}
	kind := strings.ToLower(f.GetType().String())
	if kind != byName && kind != "histogram" {
		t.Errorf("%s is a %s, its name says %s", name, kind, byName)
	}
	return kind
}

var subsystems = []struct{ name, title, about string }{
	{"raft", "The replicated log", "Each node tells of itself."},
	{"coordinator", "Jobs and checkpoints", "Every node has the same state, so each of these is the same on every node that keeps up: look at one of them, or take the `max`. A sum over the nodes counts everything as often as there are nodes. Counters with a `job` are part of the replicated state and survive restarts; the others begin at zero with the process and count the entries that it replays too."},
	{"keyed", "State of the memory backend", "As above, the same on every node."},
	{"stateserver", "Operator streams", "Each node tells of the streams that it hosts."},
}

func metricsPageText(t *testing.T, d *Daemon) string {
	var b strings.Builder
	b.WriteString(metricsIntroduction)
	all := metricsOf(t, d)
	listed := 0
	for _, s := range subsystems {
		fmt.Fprintf(&b, "\n## %s\n\n%s\n\n| metric | type | labels | meaning |\n| --- | --- | --- | --- |\n", s.title, s.about)
		for _, m := range all {
			if !strings.HasPrefix(m.name, "holdfast_"+s.name+"_") {
				continue
			}
			listed++
			labels := ""
			if m.labels != "" {
				labels = "`" + m.labels + "`"
			}
			fmt.Fprintf(&b, "| `%s` | %s | %s | %s |\n", m.name, m.kind, labels, m.help)
		}
	}
	if listed != len(all) {
		t.Errorf("%d of %d metrics belong to a subsystem of the page", listed, len(all))
	}
	return b.String()
}

const metricsIntroduction = "# Metrics\n" + `
Written by ` + "`make docs`" + ` from the registry of a node; a test compares it.

With ` + "`metrics-listen`" + ` a node serves three pages over HTTP. Its address is in
` + "`daemon.json`" + ` in the data directory and in ` + "`holdfast cluster status -o json`" + `.

| page | what it says |
| --- | --- |
| ` + "`/metrics`" + ` | the metrics below, in the format of Prometheus |
| ` + "`/healthz`" + ` | 200 while the process does its work; 503 with the reason when it should be ended and started again |
| ` + "`/readyz`" + ` | 200 when the node belongs to a cluster, knows its leader and keeps up with it; else 503 with the reason in words |
| ` + "`/debug/pprof/`" + ` | profiles of the process, only with ` + "`debug.pprof: true`" + ` |

The names are ` + "`holdfast_<subsystem>_<name>_<unit>`" + `; counters end in ` + "`_total`" + `. The
node is no label: the scraper names its target, and
` + "`holdfast_stateserver_node_info`" + ` joins it with name, id and version. Beside these
there are Go's own (` + "`go_*`" + `) and those of the process (` + "`process_*`" + `), among them
` + "`process_resident_memory_bytes`" + `.

## What to alert on

| what | expression |
| --- | --- |
| no leader | ` + "`max(holdfast_raft_is_leader) == 0`" + ` |
| elections without a reason | ` + "`increase(holdfast_raft_leader_changes_total[10m]) > 3`" + ` |
| a follower that falls behind | ` + "`max(holdfast_raft_applied_index) - min(holdfast_raft_applied_index) > 10000`" + ` |
| a slow disk | ` + "`histogram_quantile(0.99, rate(holdfast_raft_log_write_seconds_bucket[5m])) > 0.1`" + ` |
| checkpoints that do not complete | ` + "`time() - max by (job) (holdfast_coordinator_newest_checkpoint_timestamp_seconds) > 60`" + ` |
| a state that gets full | ` + "`max by (job, state) (holdfast_keyed_fill_ratio) > 0.8`" + ` |
| a job that waits for a person | ` + "`max(holdfast_coordinator_jobs{status=\"SUSPENDED\"}) > 0`" + ` |

## Writes that were fenced off

A process that was given up and writes on is refused in one of two places. Its
host drops a frame with an older token of the same stream before it reaches the
log: ` + "`holdfast_stateserver_late_frames_total{kind}`" + `. Everything else is judged by
the log: ` + "`holdfast_coordinator_commands_refused_total{command,reason}`" + `, where
` + "`command`" + ` is ` + "`flush`" + ` for writes and ` + "`ready`" + ` for acks of checkpoints, and
` + "`reason`" + ` is ` + "`FENCED`" + ` for a late or foreign token, ` + "`SEQ_GAP`" + ` for a frame that
overtook another, ` + "`DUPLICATE`" + ` for one that was applied before,
` + "`CHECKPOINT_DECIDED`" + ` and ` + "`SECOND_ACK`" + ` for acks that came too late or twice.
`
