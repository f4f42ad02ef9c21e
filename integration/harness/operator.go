package harness

import (
	"encoding/binary"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"
)

// Operator is an operator process: the test binary itself, which its TestMain
// turns into one (see testop.Main).
type Operator struct {
	*Process
	// ID is the process id by which the cluster knows it.
	ID string

	stdout, stderr, head string
}

// StartOperator starts an operator process on the nodes at addresses. It is
// killed at the end of the test.
func StartOperator(t testing.TB, cfg OperatorConfig, addresses []string, env ...string) *Operator {
	t.Helper()
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	raw, err := json.Marshal(cfg)
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	o := &Operator{ID: RandomName("process"), stdout: filepath.Join(dir, "stdout"), stderr: filepath.Join(dir, "stderr"), head: filepath.Join(dir, HeadName)}
	stdout, err := os.Create(o.stdout)
	if err != nil {
		t.Fatal(err)
	}
	defer stdout.Close()
	stderr, err := os.Create(o.stderr)
	if err != nil {
		t.Fatal(err)
	}
	defer stderr.Close()
	o.Process, err = Spawn(Command{
		Path: self, Dir: dir, Stdout: stdout, Stderr: stderr,
		Env: slices.Concat([]string{
			EnvOperator + "=" + string(raw), "HOLDFAST_ADDRESS=" + strings.Join(addresses, ","), "HOLDFAST_PROCESS_ID=" + o.ID,
		}, SecurityEnv(addresses), env),
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		o.Kill()
		reportCrash(t, fmt.Sprintf("operator %d", o.Pid()), o.stderr)
		if t.Failed() {
			t.Logf("the end of what operator %d logged:\n%s", o.Pid(), tail(o.stderr, 25))
		}
	})
	return o
}

// reportCrash fails the test if a process wrote that the runtime gave up, or the
// race detector had something to say.
func reportCrash(t testing.TB, who, log string) {
	t.Helper()
	for _, sign := range []string{"\npanic: ", "\nfatal error: ", "WARNING: DATA RACE"} {
		if _, after, found := strings.Cut("\n"+read(log), sign); found {
			t.Errorf("%s crashed:%s%s", who, sign, after[:min(len(after), 4000)])
		}
	}
}

// Output is what the operator has printed so far.
func (o *Operator) Output() string { return read(o.stdout) }

// Log is what it has logged so far.
func (o *Operator) Log() string { return read(o.stderr) }

// Head is the next offset after the highest one of partition 0 that it has
// processed; 0 before the first. The configuration must have HeadFile.
func (o *Operator) Head() int64 {
	if b, err := os.ReadFile(o.head); err == nil && len(b) == 8 {
		return int64(binary.LittleEndian.Uint64(b))
	}
	return 0
}

func read(name string) string {
	b, err := os.ReadFile(name)
	if err != nil {
		return err.Error()
	}
	return string(b)
}

// WaitExit waits until the process has ended by itself and returns its status.
func (o *Operator) WaitExit(t testing.TB) int {
	t.Helper()
	select {
	case <-o.Done():
		return o.ExitCode()
	case <-time.After(Patience()):
		t.Fatalf("waited %s for operator %d to end; it logged:\n%s", Patience(), o.Pid(), tail(o.stderr, 25))
		return -1
	}
}

// Operator returns the configuration of an operator that counts the feed.
func (f *Feed) Operator(job string) OperatorConfig {
	return OperatorConfig{Job: job, FeedPath: f.Path, Seed: f.Seed, Keys: f.Keys, Partitions: f.Partitions, Parallelism: 1, Earliest: true, Retained: 3}
}

// WaitCounted waits until a job has counted at least n records since it was
// asked, in its live state.
func (c *Cluster) WaitCounted(job string, n int64) {
	c.t.Helper()
	ref := StateRef{Job: job, Operator: OperatorUID, State: OperatorState}
	begin := int64(-1)
	Until(c.t, fmt.Sprintf("job %q to count %d more records", job, n), func() error {
		now := Sum(c.Counts(ref))
		if begin < 0 {
			begin = now
		}
		if now < begin+n {
			return fmt.Errorf("counted %d of %d", now-begin, n)
		}
		return nil
	})
}
