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
