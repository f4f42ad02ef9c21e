package integration

import (
	"testing"

	"github.com/holdfast-io/holdfast/integration/harness"
	"github.com/holdfast-io/holdfast/integration/scenario"
)

func TestMembership_AddNodes(t *testing.T) {
	scenario.AddNodes(t, harness.InProcess(t, harness.Options{}))
}

func TestMembership_RemoveFollower(t *testing.T) {
	scenario.RemoveFollower(t, harness.InProcess(t, harness.Options{}))
}

func TestMembership_RemoveLeader(t *testing.T) {
	scenario.RemoveLeader(t, harness.InProcess(t, harness.Options{}))
}

func TestMembership_ReplaceNode(t *testing.T) {
	scenario.ReplaceNode(t, harness.InProcess(t, harness.Options{}))
}

func TestMembership_TransferLeadership(t *testing.T) {
	scenario.TransferLeadership(t, harness.InProcess(t, harness.Options{}), 5)
}
