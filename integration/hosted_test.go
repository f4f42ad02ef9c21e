package integration

import (
	"testing"

	"github.com/holdfast-io/holdfast/integration/harness"
	"github.com/holdfast-io/holdfast/integration/scenario"
)

func TestHostedKills_FilesystemIncremental(t *testing.T) {
	scenario.HostedKills(t, harness.InProcess(t, harness.Options{Tune: mixed}), scenario.Hosted{Backend: "filesystem", Incremental: true}, 2)
}

func TestHostedKills_Filesystem(t *testing.T) {
	scenario.HostedKills(t, harness.InProcess(t, harness.Options{Tune: mixed}), scenario.Hosted{Backend: "filesystem"}, 1)
}

func TestHostedWithoutCheckpoints_Filesystem(t *testing.T) {
	scenario.HostedWithoutCheckpoints(t, harness.InProcess(t, harness.Options{Tune: mixed}), scenario.Hosted{Backend: "filesystem"}, 2)
}
