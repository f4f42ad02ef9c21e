package backends_test

import (
	"testing"

	"github.com/holdfast-io/holdfast/integration/harness"
	"github.com/holdfast-io/holdfast/integration/scenario"
)

func TestBackends_SavepointPairs(t *testing.T) {
	harness.RequireEnv(t, harness.EnvBin)
	c := harness.Processes(t, harness.Options{Program: harness.CustomBuild})
	var table []scenario.Restored
	for _, p := range otherPairs() {
		t.Run(p[0]+"-"+p[1], func(t *testing.T) {
			table = append(table, scenario.SavepointPair(t, c.For(t), p[0], p[1])...)
		})
	}
	c.VerifyReplicas()
	t.Logf("every savepoint:\n%s", scenario.RestoredTable(table))
}

// otherPairs are those of two different backends, in both orders.
func otherPairs() (out [][2]string) {
	for _, a := range allBackends {
		for _, b := range allBackends {
			if a != b {
				out = append(out, [2]string{a, b})
			}
		}
	}
	return out
}

func TestBackends_SavepointMovedAway(t *testing.T) {
	harness.RequireEnv(t, harness.EnvBin)
	c := harness.Processes(t, harness.Options{Program: harness.CustomBuild})
	for _, backend := range allBackends {
		t.Run(backend, func(t *testing.T) { scenario.SavepointMovedAway(t, c.For(t), backend) })
	}
	c.VerifyReplicas()
}

func TestBackends_EndedNames(t *testing.T) {
	harness.RequireEnv(t, harness.EnvBin)
	scenario.EndedNames(t, harness.Processes(t, harness.Options{}), "rocksdb")
}
