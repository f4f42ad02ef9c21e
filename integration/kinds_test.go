package integration

import (
	"testing"

	"github.com/holdfast-io/holdfast/integration/harness"
	"github.com/holdfast-io/holdfast/integration/scenario"
)

func TestKinds_Memory(t *testing.T) {
	scenario.Kinds(t, harness.InProcess(t, harness.Options{Tune: mixed}), scenario.Hosted{}, 3)
}

func TestKinds_Filesystem(t *testing.T) {
	scenario.Kinds(t, harness.InProcess(t, harness.Options{}), scenario.Hosted{Backend: "filesystem", Incremental: true}, 1)
}

func TestKinds_RocksDB(t *testing.T) {
	scenario.Kinds(t, harness.InProcess(t, harness.Options{}), scenario.Hosted{Backend: "rocksdb", Incremental: true}, 1)
}
