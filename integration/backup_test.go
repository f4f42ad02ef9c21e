package integration

import (
	"testing"

	"github.com/holdfast-io/holdfast/integration/harness"
	"github.com/holdfast-io/holdfast/integration/scenario"
)

func TestBackup_Restore(t *testing.T) {
	scenario.RestoreFromSnapshot(t, harness.InProcess(t, harness.Options{}))
}

func TestQuorumLost_GoesOnByItself(t *testing.T) {
	scenario.QuorumLost(t, harness.InProcess(t, harness.Options{}))
}
