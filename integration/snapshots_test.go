package integration

import (
	"testing"

	"github.com/holdfast-io/holdfast/integration/harness"
	"github.com/holdfast-io/holdfast/integration/scenario"
	"github.com/holdfast-io/holdfast/stateserver/daemon"
)

func TestSavepointChain_Hosts(t *testing.T) {
	scenario.SavepointChain(t, harness.InProcess(t, harness.Options{}),
		scenario.SavepointHop{Backend: "filesystem", Parallelism: 1},
		scenario.SavepointHop{Backend: "rocksdb", Parallelism: 4},
		scenario.SavepointHop{Backend: "filesystem", Parallelism: 2})
}

func TestRetention_Filesystem(t *testing.T) {
	scenario.Retention(t, harness.InProcess(t, harness.Options{}), "filesystem")
}

func TestRetention_Memory(t *testing.T) {
	scenario.Retention(t, harness.InProcess(t, harness.Options{}), "memory")
}

func TestSavepointChain_Memory(t *testing.T) {
	scenario.SavepointChain(t, harness.InProcess(t, harness.Options{}),
		scenario.SavepointHop{Backend: "memory", Parallelism: 1},
		scenario.SavepointHop{Backend: "rocksdb", Parallelism: 4},
		scenario.SavepointHop{Backend: "memory", Parallelism: 2},
		scenario.SavepointHop{Backend: "filesystem", Parallelism: 4},
		scenario.SavepointHop{Backend: "memory", Parallelism: 4})
}

func TestDamagedSavepoints_Filesystem(t *testing.T) {
	scenario.DamagedSavepoints(t, harness.InProcess(t, harness.Options{}), "filesystem")
}

func TestDamagedSavepoints_Memory(t *testing.T) {
	scenario.DamagedSavepoints(t, harness.InProcess(t, harness.Options{}), "memory")
}

func TestSnapshotOwners_Memory(t *testing.T) {
	scenario.SnapshotOwners(t, harness.InProcess(t, harness.Options{}), "memory")
}

func TestSnapshotOwners_Rocksdb(t *testing.T) {
	scenario.SnapshotOwners(t, harness.InProcess(t, harness.Options{}), "rocksdb")
}

func TestStopWithSavepoint_Filesystem(t *testing.T) {
	scenario.StopWithSavepoint(t, harness.InProcess(t, harness.Options{}), "filesystem")
}

func TestStopWithSavepoint_Memory(t *testing.T) {
	scenario.StopWithSavepoint(t, harness.InProcess(t, harness.Options{}), "memory")
}

func TestSavepointLeaderKill_Memory(t *testing.T) {
	scenario.SavepointLeaderKill(t, harness.InProcess(t, harness.Options{}), "memory", 3)
}

func TestSavepointLeaderKill_Rocksdb(t *testing.T) {
	scenario.SavepointLeaderKill(t, harness.InProcess(t, harness.Options{}), "rocksdb", 3)
}

func TestOrphans_Rocksdb(t *testing.T) {
	scenario.Orphans(t, harness.InProcess(t, harness.Options{}), "rocksdb")
}

func TestBadDirectories(t *testing.T) {
	partly := t.TempDir()
	scenario.BadDirectories(t, harness.InProcess(t, harness.Options{Tune: func(n harness.Node, cfg *daemon.Config) {
		if n.Index != 1 {
			cfg.AllowedRoots = append(cfg.AllowedRoots, "file://"+partly)
		}
	}}), "file://"+partly+"/job")
}

func TestChangedPrograms(t *testing.T) {
	scenario.ChangedPrograms(t, harness.InProcess(t, harness.Options{}), "filesystem")
}

func TestSavepointFails_Filesystem(t *testing.T) {
	scenario.SavepointFails(t, harness.InProcess(t, harness.Options{}), "filesystem")
}

func TestSavepointFails_Memory(t *testing.T) {
	scenario.SavepointFails(t, harness.InProcess(t, harness.Options{}), "memory")
}
