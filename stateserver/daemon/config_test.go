package daemon

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/holdfast-io/holdfast/coordinator"
	"github.com/holdfast-io/holdfast/internal/config"
	holdfastv1 "github.com/holdfast-io/holdfast/proto/holdfast/v1"
	"github.com/holdfast-io/holdfast/raftstore"
)

// TestDefaultConfig_AgreesWithRaftstore: the page of the configuration tells
// raftstore's defaults.
func TestDefaultConfig_AgreesWithRaftstore(t *testing.T) {
	got, want := DefaultConfig().Raft, raftstore.DefaultConfig()
	// The page says in words what follows from the heartbeat timeout.
	if got.ElectionTimeout != 0 || got.LeaderLease != 0 || want.ElectionTimeout != 300*time.Millisecond || want.LeaderLease != 300*time.Millisecond {
		t.Errorf("%s, %s; raftstore has %s, %s", got.ElectionTimeout, got.LeaderLease, want.ElectionTimeout, want.LeaderLease)
	}
	if got.HeartbeatTimeout != want.HeartbeatTimeout || got.SnapshotThreshold != want.SnapshotThreshold || got.SnapshotInterval != want.SnapshotInterval ||
		got.TrailingLogs != want.TrailingLogs || got.LogStoreDeadline != want.LogStoreDeadline || got.PeerTimeout != want.PeerTimeout {
		t.Errorf("the configuration has %+v, raftstore %+v", got, want)
	}
}

func TestFromSettings_EveryField(t *testing.T) {
	n := config.Node{
		Name: "b", DataDir: "d", Listen: "127.0.0.1:1", Advertise: "h:1", PeerListen: "127.0.0.1:2", PeerAdvertise: "h:2",
		InitialCluster: "b=h:2", Join: true, InsecureListen: true, HeartbeatInterval: 1, SessionTimeout: 2, ReconnectGrace: 3, MaxStreams: 7, MaxClusterVersion: 1,
		Raft:          config.Raft{HeartbeatTimeout: 4, ElectionTimeout: 5, LeaderLease: 3},
		MetricsListen: "127.0.0.1:3", Debug: config.Debug{Pprof: true, NoFsync: true},
		Storage: config.Storage{AllowedRoots: "file:///a,s3://b"}, S3: config.S3{Endpoint: "h:4", PathStyle: true, Region: "r", AccessKey: "a", SecretKey: "s"},
	}
	c := FromConfig(config.Config{Node: n})
	if c.settings() != n {
		t.Errorf("%+v became %+v", n, c.settings())
	}
	if got := c.initialMembers(); len(got) != 1 || got[0].Name != "b" || got[0].Address != "h:2" {
		t.Errorf("%+v", got)
	}
}

// What is wrong with the storage is told before a port is opened or a directory is
// made.
func TestStart_WrongRoots(t *testing.T) {
	c := DefaultConfig()
	c.DataDir, c.Listen, c.PeerListen = filepath.Join(t.TempDir(), "data"), "127.0.0.1:0", "127.0.0.1:0"
	c.AllowedRoots = []string{"gs://bucket"}
	_, err := Start(t.Context(), c)
	if err == nil || !strings.HasPrefix(err.Error(), "storage.allowed-roots: unknown scheme") {
		t.Errorf("started with %v: %v", c.AllowedRoots, err)
	}
	if _, err := os.Stat(c.DataDir); err == nil {
		t.Error("the data directory was made")
	}
}

func TestConfig_ValidateTellsEverything(t *testing.T) {
	c := DefaultConfig()
	if err := c.validate(); err != nil {
		t.Fatal(err)
	}
	c.DataDir, c.Listen, c.HeartbeatInterval, c.InitialCluster = "", "0.0.0.0:7070", 0, "x=1"
	err := c.validate()
	if err == nil || len(strings.Split(err.Error(), "\n")) != 4 {
		t.Errorf("%v", err)
	}
}

// TestSettings_BoundsAreTheServers: what a file may say of a job is what the
// server takes.
func TestSettings_BoundsAreTheServers(t *testing.T) {
	spec := func(change func(*holdfastv1.JobSpec)) *holdfastv1.JobSpec {
		s := &holdfastv1.JobSpec{
			Name: "j", Checkpoint: &holdfastv1.CheckpointConfig{IntervalMs: 10_000}, StateBackend: &holdfastv1.StateBackend{},
			Operators: []*holdfastv1.Operator{{Uid: "s", Name: "s", Parallelism: 1, Source: &holdfastv1.SourceSpec{Connector: "datagen"}}},
		}
		change(s)
		return s
	}
	for key, c := range map[string]struct {
		within, beyond string
		spec           func(config.Job) *holdfastv1.JobSpec
	}{
		"execution.checkpointing.interval": {"10 ms", "9 ms", func(j config.Job) *holdfastv1.JobSpec {
			return spec(func(s *holdfastv1.JobSpec) { s.Checkpoint.IntervalMs = uint64(j.Checkpointing.Interval.Milliseconds()) })
		}},
		"execution.checkpointing.num-retained": {"100", "101", func(j config.Job) *holdfastv1.JobSpec {
			return spec(func(s *holdfastv1.JobSpec) { s.Checkpoint.NumRetained = j.Checkpointing.NumRetained })
		}},
		"state.memory.max-size": {"64 gb", "65 gb", func(j config.Job) *holdfastv1.JobSpec {
			return spec(func(s *holdfastv1.JobSpec) { s.StateBackend.MemoryMaxSize = uint64(j.MemoryMaxSize) })
		}},
	} {
		r := config.Load(config.Sources{Environ: []string{config.Variable(key) + "=" + c.within}})
		if r.Err() != nil {
			t.Errorf("%s: %v", key, r.Err())
		}
		if _, refused := coordinator.NormalizeSpec(c.spec(r.Config.Job)); refused != nil {
			t.Errorf("%s: %s is refused by the server: %v", key, c.within, refused)
		}
		if config.Load(config.Sources{Environ: []string{config.Variable(key) + "=" + c.beyond}}).Err() == nil {
			t.Errorf("%s: %s is taken", key, c.beyond)
		}
	}
}
