//go:build next_version

package daemon

import (
	"fmt"
	"strings"
	"testing"

	"github.com/holdfast-io/holdfast/coordinator"
	"github.com/holdfast-io/holdfast/raftstore"
)

// max-cluster-version holds down what a node says it supports, never below what
// its build can do, and a refusal to start names it.
func TestConfig_NextMaxClusterVersion(t *testing.T) {
	for key, want := range map[uint64]coordinator.Versions{0: {Min: 1, Max: 2}, 1: {Min: 1, Max: 1}, 2: {Min: 1, Max: 2}, 1 << 40: {Min: 1, Max: 2}} {
		c := DefaultConfig()
		c.MaxClusterVersion = key
		if got := c.versions(); got != want {
			t.Errorf("max-cluster-version %d: %v, want %v", key, got, want)
		}
		err := c.explain(fmt.Errorf("start: %w", raftstore.ErrClusterVersion))
		if named := strings.HasPrefix(err.Error(), "max-cluster-version is 1, remove it"); named != (key == 1) {
			t.Errorf("max-cluster-version %d: %v", key, err)
		}
	}
}
