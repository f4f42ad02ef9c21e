package e2e

import (
	"strconv"
	"testing"
	"time"

	"github.com/holdfast-io/holdfast/integration/harness"
	"github.com/holdfast-io/holdfast/integration/harness/testop"
	"github.com/holdfast-io/holdfast/integration/scenario"
)

func TestMain(m *testing.M) { testop.Main(m) }

// cluster starts nodes as processes, as a user would.
func cluster(t *testing.T, o harness.Options) *harness.Cluster {
	t.Helper()
	harness.RequireEnv(t, harness.EnvBin)
	return harness.Processes(t, o)
}

func TestProcess_LeaderKill(t *testing.T) {
	scenario.LeaderKill(t, cluster(t, harness.Options{SnapshotThreshold: 500}), harness.Kills())
}

func TestProcess_Health(t *testing.T) { scenario.Health(t, cluster(t, harness.Options{})) }

func TestProcess_Kills(t *testing.T) {
	scenario.Kills(t, cluster(t, harness.Options{SnapshotThreshold: 2000}), harness.Kills())
}

func TestProcess_FollowerKill(t *testing.T) { scenario.FollowerKill(t, cluster(t, harness.Options{})) }

func TestProcess_HostKill(t *testing.T) { scenario.HostKill(t, cluster(t, harness.Options{})) }

func TestProcess_HostKillWhileASubtaskWaits(t *testing.T) {
	scenario.WaitingBesideResume(t, cluster(t, harness.Options{}), 2)
}

func TestProcess_CheckpointStatistics(t *testing.T) {
	scenario.CheckpointStatistics(t, cluster(t, harness.Options{}))
}

func TestProcess_SavepointLeaderStopped(t *testing.T) {
	scenario.SavepointLeaderStopped(t, cluster(t, harness.Options{}), "memory", 3)
}

func TestProcess_OperatorKill(t *testing.T) {
	scenario.OperatorKill(t, cluster(t, harness.Options{}), 3)
}

func TestProcess_HostedKills(t *testing.T) {
	scenario.HostedKills(t, cluster(t, harness.Options{SessionTimeout: hostedSession}), scenario.Hosted{Backend: "filesystem", Incremental: true}, 2)
}

// hostedSession is how long a cluster waits for the host that a scenario killed.
const hostedSession = 4 * time.Second

func TestProcess_HostedWithoutCheckpoints(t *testing.T) {
	scenario.HostedWithoutCheckpoints(t, cluster(t, harness.Options{SessionTimeout: hostedSession}), scenario.Hosted{Backend: "filesystem"}, 2)
}

func TestProcess_OperatorKillWithoutCheckpoints(t *testing.T) {
	scenario.OperatorKillWithoutCheckpoints(t, cluster(t, harness.Options{}), 2)
}

func TestProcess_RollingRestart(t *testing.T) {
	scenario.RollingRestart(t, cluster(t, harness.Options{}), harness.Rolls())
}

func TestProcess_RollingUpgrade(t *testing.T) {
	for i := range harness.Rolls() {
		t.Run(strconv.Itoa(i+1), func(t *testing.T) {
			scenario.RollingUpgrade(t, cluster(t, harness.Options{SnapshotThreshold: 500}))
		})
	}
}

func TestProcess_Downgrade(t *testing.T) {
	scenario.Downgrade(t, cluster(t, harness.Options{SnapshotThreshold: 500}))
}

func TestProcess_OldNodeJoins(t *testing.T) { scenario.OldNodeJoins(t, cluster(t, harness.Options{})) }

func TestProcess_AllNodesRestart(t *testing.T) {
	scenario.AllNodesRestart(t, cluster(t, harness.Options{SnapshotThreshold: 500}), harness.Restarts())
}

func TestProcess_MinorityLost(t *testing.T) {
	scenario.MinorityLost(t, cluster(t, harness.Options{Size: 5}))
}

func TestProcess_LeaderFrozen(t *testing.T) {
	scenario.LeaderFrozen(t, cluster(t, harness.Options{SessionTimeout: 4 * time.Second}))
}

func TestProcess_FrozenHost(t *testing.T) {
	scenario.FrozenHost(t, cluster(t, harness.Options{}), 6)
}

// stale clusters are cut off from their clients where a scenario says so, and
// give silent sides up early, since every round waits for it.
func stale(t *testing.T) *harness.Cluster {
	return cluster(t, harness.Options{Proxied: true, SessionTimeout: 3 * time.Second})
}

func TestProcess_StaleOperator(t *testing.T) { scenario.StaleOperator(t, stale(t), harness.Stale()) }

func TestProcess_StaleHost(t *testing.T) { scenario.StaleHost(t, stale(t), harness.Stale()) }

func TestProcess_StaleLeader(t *testing.T) { scenario.StaleLeader(t, stale(t), harness.Stale()) }

func TestProcess_Partitions(t *testing.T) {
	scenario.Partitions(t, cluster(t, harness.Options{Proxied: true, SessionTimeout: 4 * time.Second}))
}

func TestProcess_PartitionsWithABridge(t *testing.T) {
	scenario.Partitions(t, cluster(t, harness.Options{Size: 5, Proxied: true, SessionTimeout: 4 * time.Second}))
}

func TestProcess_HungDisk(t *testing.T) {
	harness.RequireEnv(t, harness.EnvBin)
	disk := harness.HangingDisk(t)
	scenario.HungDisk(t, cluster(t, harness.Options{DataDirs: map[int]string{1: disk.Dir()}}), 1, disk)
}

func TestProcess_FullDisk(t *testing.T) {
	harness.RequireEnv(t, harness.EnvBin)
	disk := harness.SmallDisk(t, 32)
	scenario.FullDisk(t, cluster(t, harness.Options{DataDirs: map[int]string{1: disk.Dir()}}), 1, disk)
}

func TestProcess_Zombie(t *testing.T) {
	scenario.ZombieWithCheckpoints(t, cluster(t, harness.Options{SessionTimeout: 4 * time.Second}))
}

func TestProcess_ZombieWithoutCheckpoints(t *testing.T) {
	scenario.ZombieWithoutCheckpoints(t, cluster(t, harness.Options{SessionTimeout: 4 * time.Second}))
}

func TestProcess_RandomFaults(t *testing.T) {
	scenario.RandomFaults(t, cluster(t, harness.Options{Proxied: true, SnapshotThreshold: 500, SessionTimeout: 4 * time.Second}), harness.Faults(), harness.Seed())
}

// The rest needs no processes; running it on them shows that both back ends
// mean the same.
func TestProcess_Jobs(t *testing.T) {
	c := cluster(t, harness.Options{})
	for name, run := range map[string]func(*testing.T, *harness.Cluster){
		"RestartStrategies": scenario.RestartStrategies, "BoundedSource": scenario.BoundedSource, "ManualTrigger": scenario.ManualTrigger,
		"CheckpointTimeout": scenario.CheckpointTimeout, "BadSubmissions": scenario.BadSubmissions,
		"OldTokens": scenario.OldTokens, "StateReads": scenario.StateReads, "StateTooLarge": scenario.StateTooLarge, "BadCalls": scenario.BadCalls,
	} {
		t.Run(name, func(t *testing.T) { run(t, c.For(t)) })
	}
}

// 10,000 streams, of which a node takes what max-streams says by default.
func TestProcess_TooManyStreams(t *testing.T) {
	scenario.TooManyStreams(t, cluster(t, harness.Options{}), 4096, 10_000)
}

func TestProcess_OperatorStates(t *testing.T) {
	scenario.OperatorStates(t, cluster(t, harness.Options{SessionTimeout: 4 * time.Second}),
		scenario.OperatorStateHop{Backend: "memory", Parallelism: 1},
		scenario.OperatorStateHop{Backend: "rocksdb", Parallelism: 4},
		scenario.OperatorStateHop{Backend: "memory", Parallelism: 2})
}

func TestProcess_NeverReads(t *testing.T) { scenario.NeverReads(t, cluster(t, harness.Options{})) }
