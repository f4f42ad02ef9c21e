package integration

import (
	"testing"
	"time"

	"github.com/holdfast-io/holdfast/integration/harness"
	"github.com/holdfast-io/holdfast/integration/harness/testop"
	"github.com/holdfast-io/holdfast/integration/scenario"
	"github.com/holdfast-io/holdfast/stateserver/daemon"
)

func TestMain(m *testing.M) { testop.Main(m) }

// mixed makes the first node replay its whole log at each start and the others
// load snapshots, so that comparing replicas compares both ways of getting there.
func mixed(n harness.Node, cfg *daemon.Config) {
	cfg.Raft.SnapshotThreshold, cfg.Raft.SnapshotInterval = 200, 50*time.Millisecond
	cfg.Raft.TrailingLogs = 1 << 20 // so that nobody needs another one's snapshot
	if n.Index == 0 {
		cfg.Raft.SnapshotThreshold = 1 << 40
	}
}

func TestLeaderKill_CountsOnce(t *testing.T) {
	c := harness.InProcess(t, harness.Options{Tune: mixed})
	scenario.LeaderKill(t, c, harness.Kills())
	// Every node loads what it has.
	c.KillAll()
	c.StartAll()
	replayed, restored := 0, 0
	for _, h := range c.VerifyReplicas() {
		if h.RestoredSnapshotIndex == 0 {
			replayed++
		} else {
			restored++
		}
	}
	if replayed == 0 || restored == 0 {
		t.Errorf("%d nodes replayed the log and %d loaded a snapshot; the comparison wants some of both", replayed, restored)
	}
}

func TestHealth_SaysWhy(t *testing.T) {
	scenario.Health(t, harness.InProcess(t, harness.Options{}))
}

func TestKills_CountOnce(t *testing.T) {
	scenario.Kills(t, harness.InProcess(t, harness.Options{Tune: mixed}), harness.Kills())
}

func TestFollowerKill_GoesUnnoticed(t *testing.T) {
	scenario.FollowerKill(t, harness.InProcess(t, harness.Options{}))
}

func TestHostKill_Resumes(t *testing.T) {
	scenario.HostKill(t, harness.InProcess(t, harness.Options{}))
}

func TestAllNodesRestart_KeepsEverything(t *testing.T) {
	scenario.AllNodesRestart(t, harness.InProcess(t, harness.Options{Tune: mixed}), harness.Restarts())
}

func TestMinorityLost_LosesNothing(t *testing.T) {
	scenario.MinorityLost(t, harness.InProcess(t, harness.Options{Size: 5}))
}

func TestOperatorKill_GoesOnFromTheNewestCheckpoint(t *testing.T) {
	scenario.OperatorKill(t, harness.InProcess(t, harness.Options{}), 3)
}

func TestOperatorKill_WithoutCheckpointsTakesNothingBack(t *testing.T) {
	scenario.OperatorKillWithoutCheckpoints(t, harness.InProcess(t, harness.Options{}), 3)
}

func TestRestartStrategy_Decides(t *testing.T) {
	scenario.RestartStrategies(t, harness.InProcess(t, harness.Options{}))
}

func TestBoundedSource_Finishes(t *testing.T) {
	scenario.BoundedSource(t, harness.InProcess(t, harness.Options{}))
}

func TestCoPartitioned_CountsOnce(t *testing.T) {
	scenario.CoPartitioned(t, harness.InProcess(t, harness.Options{}))
}

func TestCheckpoint_ManualTrigger(t *testing.T) {
	scenario.ManualTrigger(t, harness.InProcess(t, harness.Options{}))
}

func TestCheckpoint_ExpiresWithoutAnAnswer(t *testing.T) {
	scenario.CheckpointTimeout(t, harness.InProcess(t, harness.Options{}))
}

func TestOffsetGone_SuspendsUntilAccepted(t *testing.T) {
	scenario.OffsetGone(t, harness.InProcess(t, harness.Options{}))
}

func TestSource_MissingFailsTheJob(t *testing.T) {
	scenario.SourceMissing(t, harness.InProcess(t, harness.Options{}))
}

func TestState_ReadsEverywhere(t *testing.T) {
	scenario.StateReads(t, harness.InProcess(t, harness.Options{}))
}

func TestCheckpoint_Statistics(t *testing.T) {
	scenario.CheckpointStatistics(t, harness.InProcess(t, harness.Options{}))
}

func TestJobs_AnyNodeAnswers(t *testing.T) {
	scenario.AnyNodeAnswers(t, harness.InProcess(t, harness.Options{}))
}

func TestSavepoint_WaitsForItsTurn(t *testing.T) {
	scenario.SavepointsWait(t, harness.InProcess(t, harness.Options{}))
}

func TestZombie_ChangesNothing(t *testing.T) {
	scenario.ZombieWithCheckpoints(t, harness.InProcess(t, harness.Options{}))
}

func TestZombie_PrintsNothingTwice(t *testing.T) {
	scenario.ZombieWithoutCheckpoints(t, harness.InProcess(t, harness.Options{}))
}

func TestRandomFaults_CountOnce(t *testing.T) {
	scenario.RandomFaults(t, harness.InProcess(t, harness.Options{Tune: mixed, Proxied: true}), harness.Faults(), harness.Seed())
}

func TestHostKill_WhileASubtaskWaits(t *testing.T) {
	scenario.WaitingBesideResume(t, harness.InProcess(t, harness.Options{}), 3)
}

func TestCheckpoint_LateAckChangesNothing(t *testing.T) {
	scenario.LateAck(t, harness.InProcess(t, harness.Options{}))
}

func TestCheckpoint_ResumeKeepsTheAck(t *testing.T) {
	scenario.ResumeKeepsTheAck(t, harness.InProcess(t, harness.Options{}))
}

func TestRollingRestart_GoesUnnoticed(t *testing.T) {
	scenario.RollingRestart(t, harness.InProcess(t, harness.Options{}), harness.Rolls())
}

func TestClient_OfALaterReleaseWorks(t *testing.T) {
	scenario.NewerClient(t, harness.InProcess(t, harness.Options{}))
}

func TestDeafHost_OperatorsGoElsewhere(t *testing.T) {
	scenario.DeafHost(t, harness.InProcess(t, harness.Options{Proxied: true}))
}

func TestPartitions_CountOnce(t *testing.T) {
	scenario.Partitions(t, harness.InProcess(t, harness.Options{Proxied: true}))
}

func TestLaggingNode_LoadsASnapshot(t *testing.T) {
	scenario.LaggingNode(t, harness.InProcess(t, harness.Options{Tune: func(_ harness.Node, cfg *daemon.Config) {
		cfg.Raft.SnapshotThreshold, cfg.Raft.SnapshotInterval, cfg.Raft.TrailingLogs = 100, 20*time.Millisecond, 50
	}}))
}

// patient makes the first node lead for two seconds without an answer, while the
// others elect another leader after a twentieth of that.
func patient(n harness.Node, cfg *daemon.Config) {
	mixed(n, cfg)
	if n.Index == 0 {
		lease := 2 * time.Second
		cfg.Raft.HeartbeatTimeout, cfg.Raft.ElectionTimeout, cfg.Raft.LeaderLease = lease, lease, lease
	}
}

func TestHistories_OfTwoLeadersAreLinearizable(t *testing.T) {
	scenario.TwoLeaders(t, harness.InProcess(t, harness.Options{Proxied: true, Tune: patient}), harness.Histories(), harness.Seed())
}

func TestHistories_AreLinearizable(t *testing.T) {
	scenario.Histories(t, harness.InProcess(t, harness.Options{Proxied: true, Tune: mixed}), harness.Histories(), harness.Seed())
}
