package integration

import (
	"testing"

	"github.com/holdfast-io/holdfast/integration/harness"
	"github.com/holdfast-io/holdfast/integration/scenario"
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
