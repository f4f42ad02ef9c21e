package integration

import (
	"testing"
	"time"

	"github.com/holdfast-io/holdfast/integration/harness"
	"github.com/holdfast-io/holdfast/integration/scenario"
	"github.com/holdfast-io/holdfast/stateserver/daemon"
)

func TestHostedKills_FilesystemIncremental(t *testing.T) {
	scenario.HostedKills(t, harness.InProcess(t, harness.Options{Tune: mixed}), scenario.Hosted{Backend: "filesystem", Incremental: true}, 2)
}

// TestHostedKills_Filesystem is on nodes that wait for ever for a silent one: an
// operator whose host died says so itself (protocol 7.6).
func TestHostedKills_Filesystem(t *testing.T) {
	patient := func(n harness.Node, cfg *daemon.Config) {
		mixed(n, cfg)
		cfg.SessionTimeout = time.Hour
	}
	scenario.HostedKills(t, harness.InProcess(t, harness.Options{Tune: patient}), scenario.Hosted{Backend: "filesystem"}, 2)
}

func TestHostedWithoutCheckpoints_Filesystem(t *testing.T) {
	scenario.HostedWithoutCheckpoints(t, harness.InProcess(t, harness.Options{Tune: mixed}), scenario.Hosted{Backend: "filesystem"}, 2)
}

func TestSharedFiles(t *testing.T) {
	c := harness.InProcess(t, harness.Options{Tune: mixed})
	for _, backend := range []string{"filesystem", "rocksdb"} {
		t.Run(backend, func(t *testing.T) { scenario.SharedFiles(t, c.For(t), backend) })
	}
	c.VerifyReplicas()
}
