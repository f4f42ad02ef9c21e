package e2e

import (
	"testing"
	"time"

	"github.com/holdfast-io/holdfast/integration/harness"
	"github.com/holdfast-io/holdfast/integration/scenario"
)

func TestProcess_AddNodes(t *testing.T) { scenario.AddNodes(t, cluster(t, harness.Options{})) }

func TestProcess_RemoveFollower(t *testing.T) {
	scenario.RemoveFollower(t, cluster(t, harness.Options{}))
}

func TestProcess_RemoveLeader(t *testing.T) { scenario.RemoveLeader(t, cluster(t, harness.Options{})) }

func TestProcess_ReplaceNode(t *testing.T) { scenario.ReplaceNode(t, cluster(t, harness.Options{})) }

func TestProcess_TransferLeadership(t *testing.T) {
	scenario.TransferLeadership(t, cluster(t, harness.Options{}), 5)
}

func TestProcess_RestoreFromSnapshot(t *testing.T) {
	scenario.RestoreFromSnapshot(t, cluster(t, harness.Options{}))
}

func TestProcess_QuorumLost(t *testing.T) {
	scenario.QuorumLost(t, cluster(t, harness.Options{SessionTimeout: 4 * time.Second}))
}
