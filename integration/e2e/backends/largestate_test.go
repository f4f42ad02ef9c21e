package backends_test

import (
	"testing"

	"github.com/holdfast-io/holdfast/integration/harness"
	"github.com/holdfast-io/holdfast/integration/scenario"
)

// TestBackends_LargerThanMemory takes minutes and 3 GB of disk, so it has a target of
// its own: make large-state.
func TestBackends_LargerThanMemory(t *testing.T) {
	harness.RequireEnv(t, harness.EnvBin)
	if !harness.LargeState() {
		t.Skip("takes minutes: run `make large-state`")
	}
	l := scenario.LargeState{Backend: "rocksdb", ValueBytes: 16 << 10, Keys: 172_000, Records: 88_000, Limit: 208 << 20, Times: 5}
	c := harness.Processes(t, harness.Options{Size: 1, DataLimit: l.Limit, Env: []string{"GOMEMLIMIT=64MiB"}, Flags: []string{"--state-cache-size", "16 mb"}})
	scenario.LargerThanMemory(t, c, l)
}
