package integration

import (
	"testing"

	"github.com/holdfast-io/holdfast/integration/harness"
	"github.com/holdfast-io/holdfast/integration/scenario"
)

func TestLeaderKill_CountsOnce(t *testing.T) {
	scenario.LeaderKill(t, harness.InProcess(t, harness.Options{}), harness.Kills())
}
