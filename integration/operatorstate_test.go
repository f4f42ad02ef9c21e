package integration

import (
	"testing"

	"github.com/holdfast-io/holdfast/integration/harness"
	"github.com/holdfast-io/holdfast/integration/scenario"
)

func TestOperatorStates_Memory(t *testing.T) {
	scenario.OperatorStates(t, harness.InProcess(t, harness.Options{}),
		scenario.OperatorStateHop{Backend: "memory", Parallelism: 1},
		scenario.OperatorStateHop{Backend: "memory", Parallelism: 4},
		scenario.OperatorStateHop{Backend: "memory", Parallelism: 2})
}

func TestOperatorStates_Hosts(t *testing.T) {
	scenario.OperatorStates(t, harness.InProcess(t, harness.Options{}),
		scenario.OperatorStateHop{Backend: "filesystem", Parallelism: 1},
		scenario.OperatorStateHop{Backend: "rocksdb", Parallelism: 4},
		scenario.OperatorStateHop{Backend: "memory", Parallelism: 4},
		scenario.OperatorStateHop{Backend: "filesystem", Parallelism: 2})
}

func TestOperatorStateTooLarge_Memory(t *testing.T) {
	scenario.OperatorStateTooLarge(t, harness.InProcess(t, harness.Options{}), "memory", 8<<10)
}

func TestOperatorStateTooLarge_Filesystem(t *testing.T) {
	scenario.OperatorStateTooLarge(t, harness.InProcess(t, harness.Options{}), "filesystem", 128<<10)
}

func TestOperatorStateReads_Memory(t *testing.T) {
	scenario.OperatorStateReads(t, harness.InProcess(t, harness.Options{}), "memory")
}

func TestOperatorStateReads_Filesystem(t *testing.T) {
	scenario.OperatorStateReads(t, harness.InProcess(t, harness.Options{}), "filesystem")
}
