package e2e

import (
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"testing"

	"github.com/holdfast-io/holdfast/integration/harness"
)

// maxNodeBytes is what a node with an empty job may take.
const maxNodeBytes = 60 << 20

// levelFrom is the number of checkpoints from which a run is long enough to tell
// that its curves are level.
const levelFrom = 50_000

// bench runs a measurement and reads its report.
func bench(t *testing.T, report any, args ...string) {
	t.Helper()
	bin := harness.RequireEnv(t, harness.EnvBin)[0]
	cmd := exec.Command(filepath.Join(bin, "holdfast"), append([]string{"bench", "-o", "json"}, args...)...)
	cmd.Stderr = os.Stderr
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("holdfast bench %v: %v", args, err)
	}
	if err := json.Unmarshal(out, report); err != nil {
		t.Fatalf("holdfast bench %v said %s: %v", args, out, err)
	}
	t.Logf("holdfast bench %v: %s", args, out)
}

// TestBench_EmptyJobTakesLittleMemory: a node of three with a job that has no
// records and a checkpoint a second stays below 60 MiB, mapped files counted.
func TestBench_EmptyJobTakesLittleMemory(t *testing.T) {
	var r struct {
		Checkpoints uint64
		Nodes       []struct {
			Name      string
			Resident  uint64 `json:"resident_bytes"`
			Peak      uint64 `json:"peak_bytes"`
			Anonymous uint64 `json:"anonymous_bytes"`
			File      uint64 `json:"file_bytes"`
		}
	}
	bench(t, &r, "memory", "--duration", "15s")
	if len(r.Nodes) != 3 || r.Checkpoints == 0 {
		t.Fatalf("%d nodes, %d checkpoints", len(r.Nodes), r.Checkpoints)
	}
	for _, n := range r.Nodes {
		if n.Resident == 0 || n.Peak > maxNodeBytes {
			t.Errorf("%s: %d bytes at the end, %d at most, of them %d anonymous and %d of files; the bound is %d",
				n.Name, n.Resident, n.Peak, n.Anonymous, n.File, maxNodeBytes)
		}
	}
}

// TestBench_CheckpointsLeaveNothingBehind takes many checkpoints of one job in a
// row: the counts are right, and log, snapshots, records, keyed state, directory and
// memory keep to their bounds and are level in the second half, or the measurement
// fails (HOLDFAST_TEST_CHECKPOINTS; 100000 for the acceptance).
func TestBench_CheckpointsLeaveNothingBehind(t *testing.T) {
	var r struct {
		Curve  []struct{ Checkpoints uint64 }
		Bounds []struct{ Curve string }
		Level  bool `json:"level_checked"`
	}
	n := harness.Checkpoints()
	bench(t, &r, "checkpoints", "--checkpoints", fmt.Sprint(n), "--rows", "100")
	if last := r.Curve[len(r.Curve)-1]; last.Checkpoints != uint64(n) {
		t.Errorf("%d checkpoints, want %d", last.Checkpoints, n)
	}
	if len(r.Bounds) != 8 {
		t.Errorf("%d curves were compared with their bounds: %v", len(r.Bounds), r.Bounds)
	}
	if n >= levelFrom && !r.Level {
		t.Errorf("%d checkpoints were too few to tell whether the curves are level", n)
	}
}

// A measurement with nodes of its own has no TLS, whatever the shell has for other
// clusters: its operator would look for authorities that these nodes know nothing of.
func TestBench_TLSOfTheShellIsNotForItsOwnNodes(t *testing.T) {
	for _, v := range []string{"HOLDFAST_TLS_CA_FILE", "HOLDFAST_TLS_CERT_FILE", "HOLDFAST_TLS_KEY_FILE"} {
		t.Setenv(v, filepath.Join(t.TempDir(), "none"))
	}
	var r struct {
		Counted uint64 `json:"counted_records"`
	}
	bench(t, &r, "count", "--keys", "100", "--warm-up", "1s", "--duration", "1s")
	if r.Counted == 0 {
		t.Error("nothing was counted")
	}
}

// TestBench_StateOnHosts runs the measurements of state on hosts with little state:
// they compare every count before they tell anything, and what they tell is there.
func TestBench_StateOnHosts(t *testing.T) {
	type spread struct{ Rounds int }
	var path struct {
		Peers []struct {
			Name      string
			PerSecond spread `json:"per_second"`
		}
		Ratio *spread `json:"rocksdb_to_pebble"`
	}
	bench(t, &path, "path", "--keys", "4096", "--rounds", "2", "--batches", "4", "--cache-mb", "8")
	if len(path.Peers) != 3 || path.Ratio == nil || path.Ratio.Rounds != 2 {
		t.Errorf("path: %+v", path)
	}
	var counted struct {
		Rows []struct {
			Keys    int64
			Ratio   spread
			Counted int64 `json:"counted_records"`
		}
	}
	bench(t, &counted, "map", "--keys", "1000", "--interval", "100ms", "--warm-up", "1s", "--duration", "1s", "--rounds", "1")
	if len(counted.Rows) != 1 || counted.Rows[0].Ratio.Rounds != 1 || counted.Rows[0].Counted == 0 {
		t.Errorf("map: %+v", counted)
	}
	var cuts struct {
		Rows []struct {
			Name        string
			Checkpoints int
			Restored    spread `json:"restored_keys_per_second"`
		}
	}
	bench(t, &cuts, "cuts", "--keys", "20000", "--dirty", "2000", "--filesystem", "3", "--rocksdb", "2", "--restores", "1")
	if len(cuts.Rows) != 2 || cuts.Rows[0].Checkpoints != 3 || cuts.Rows[1].Restored.Rounds != 1 {
		t.Errorf("cuts: %+v", cuts)
	}
	for _, backend := range []string{"filesystem", "rocksdb"} {
		var savepoint struct {
			Peak uint64 `json:"peak_anonymous_bytes"`
			File uint64 `json:"file_bytes"`
		}
		bench(t, &savepoint, "savepoint", "--keys", "20000", "--backend", backend, "--cache-mb", "8")
		if savepoint.Peak == 0 || savepoint.File < 20000*8 {
			t.Errorf("savepoint on %s: %+v", backend, savepoint)
		}
	}
}
