package backends_test

import (
	"testing"
	"time"

	"github.com/holdfast-io/holdfast/integration/harness"
	"github.com/holdfast-io/holdfast/integration/scenario"
)

// The session timeout is one in which a node starts again.
func TestBackends_HostLost(t *testing.T) {
	harness.RequireEnv(t, harness.EnvBin)
	c := harness.Processes(t, harness.Options{Program: harness.CustomBuild, SessionTimeout: 10 * time.Second})
	scenario.HostLost(t, c, allBackends)
}
