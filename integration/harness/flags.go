package harness

import (
	"os"
	"strconv"
	"testing"
	"time"
)

// Heavier runs are asked for by environment variables, so that one command
// reaches every package of a tier. make passes variables of its command line
// on, as in: make test-integration HOLDFAST_TEST_KILLS=30

// Kills is how many leaders the leader-kill scenarios kill
// (HOLDFAST_TEST_KILLS, default 5; 30 for the acceptance).
func Kills() int { return number("HOLDFAST_TEST_KILLS", 5) }

// Stale is how often a side is stopped with SIGSTOP, for each of operator, host
// and leader (HOLDFAST_TEST_STALE, default 2; 20 for the acceptance).
func Stale() int { return number("HOLDFAST_TEST_STALE", 2) }

// PartitionTimeouts is how many election timeouts each partition lasts at least
// (HOLDFAST_TEST_PARTITION_TIMEOUTS, default 8; 25 for the acceptance).
func PartitionTimeouts() int { return number("HOLDFAST_TEST_PARTITION_TIMEOUTS", 8) }

// Restarts is how often the restart scenarios kill all nodes
// (HOLDFAST_TEST_RESTARTS, default 3; 10 for the acceptance).
func Restarts() int { return number("HOLDFAST_TEST_RESTARTS", 3) }

// Rolls is how often the rolling scenarios go through all nodes
// (HOLDFAST_TEST_ROLLS, default 1; 5 for the acceptance).
func Rolls() int { return number("HOLDFAST_TEST_ROLLS", 1) }

// Faults is how many steps the random faults take (HOLDFAST_TEST_FAULTS,
// default 10), and Seed where they begin (HOLDFAST_TEST_SEED, default the time).
func Faults() int { return number("HOLDFAST_TEST_FAULTS", 10) }

// Seed is described at Faults.
func Seed() uint64 {
	return uint64(number("HOLDFAST_TEST_SEED", int(time.Now().UnixNano()>>10)))
}

// Checkpoints is how many checkpoints in a row a test takes
// (HOLDFAST_TEST_CHECKPOINTS, default 500; 100000 for the acceptance).
func Checkpoints() int { return number("HOLDFAST_TEST_CHECKPOINTS", 500) }

// Histories is how many histories are recorded and checked for linearizability
// (HOLDFAST_TEST_HISTORIES, default 6; 200 for the acceptance).
func Histories() int { return number("HOLDFAST_TEST_HISTORIES", 6) }

// WholeMatrix asks for every state backend on every checkpoint storage
// (HOLDFAST_TEST_MATRIX, 0 or 1), instead of each of them once.
func WholeMatrix() bool { return number("HOLDFAST_TEST_MATRIX", 0) != 0 }

// LargeState asks for the state that is larger than the memory of its node
// (HOLDFAST_TEST_LARGE_STATE, 0 or 1).
func LargeState() bool { return number("HOLDFAST_TEST_LARGE_STATE", 0) != 0 }

// Outage is how long a checkpoint storage is away at least (HOLDFAST_TEST_OUTAGE, a
// duration, by default until a checkpoint has failed; 1m for the acceptance).
func Outage() time.Duration {
	d, _ := time.ParseDuration(os.Getenv("HOLDFAST_TEST_OUTAGE")) // the default is 0
	return d
}

// Patience bounds every wait of a scenario (HOLDFAST_TEST_PATIENCE, a duration,
// default 60s). It is no measure of speed: nothing should ever come near it.
func Patience() time.Duration {
	if d, err := time.ParseDuration(os.Getenv("HOLDFAST_TEST_PATIENCE")); err == nil && d > 0 {
		return d
	}
	return 60 * time.Second
}

// KeepLogs keeps the directories of clusters although the test passed
// (HOLDFAST_TEST_KEEP, 0 or 1).
func KeepLogs() bool { return number("HOLDFAST_TEST_KEEP", 0) != 0 }

// Where the end-to-end tier finds its surroundings; scripts/e2e.sh sets them.
const (
	EnvKafka  = "HOLDFAST_TEST_KAFKA"
	EnvBin    = "HOLDFAST_TEST_BIN"
	EnvPython = "HOLDFAST_TEST_PYTHON"
	EnvS3     = "HOLDFAST_TEST_S3"   // URL of a server; its bucket is ckpt, AWS_* have the credentials
	EnvHDFS   = "HOLDFAST_TEST_HDFS" // host:port of a name node
)

// RequireEnv returns the values of variables of the end-to-end tier. Without
// any of them the test is skipped; with only some of them it fails, since
// something meant to run it.
func RequireEnv(t testing.TB, names ...string) []string {
	t.Helper()
	out := make([]string, 0, len(names))
	missing := ""
	for _, n := range names {
		v := os.Getenv(n)
		if v == "" {
			missing += " " + n
		}
		out = append(out, v)
	}
	switch {
	case missing == "":
		return out
	case os.Getenv(EnvKafka)+os.Getenv(EnvBin)+os.Getenv(EnvPython)+os.Getenv(EnvS3)+os.Getenv(EnvHDFS) == "":
		t.Skip("needs processes and real servers: run `make test-e2e`")
	default:
		t.Fatalf("not set:%s; run `make test-e2e`, which provides all of them", missing)
	}
	return nil
}

func number(env string, fallback int) int {
	if n, err := strconv.Atoi(os.Getenv(env)); err == nil {
		return n
	}
	return fallback
}
