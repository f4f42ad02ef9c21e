package backends_test

import (
	"testing"

	"github.com/holdfast-io/holdfast/integration/harness"
	"github.com/holdfast-io/holdfast/integration/scenario"
)

func TestBackends_IncrementalCheckpoints(t *testing.T) {
	harness.RequireEnv(t, harness.EnvBin)
	c := harness.Processes(t, harness.Options{SessionTimeout: sessionTimeout})
	for _, backend := range []string{"filesystem", "rocksdb"} {
		t.Run(backend, func(t *testing.T) { scenario.IncrementalCheckpoints(t, c.For(t), backend, 200, 6) })
	}
	c.VerifyReplicas()
}

func TestBackends_IncrementalDiskUse(t *testing.T) {
	harness.RequireEnv(t, harness.EnvBin)
	c := harness.Processes(t, harness.Options{SessionTimeout: sessionTimeout})
	for _, backend := range []string{"filesystem", "rocksdb"} {
		t.Run(backend, func(t *testing.T) {
			scenario.DiskUseLevelsOff(t, c.For(t), scenario.DiskUse{Backend: backend, Checkpoints: 200, Kills: 6, Keys: 1000, ValueBytes: 2 << 10, Most: 8})
		})
	}
	c.VerifyReplicas()
}
