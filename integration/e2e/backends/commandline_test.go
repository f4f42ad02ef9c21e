package backends_test

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/holdfast-io/holdfast/integration/harness"
	holdfastv1 "github.com/holdfast-io/holdfast/proto/holdfast/v1"
)

// shell is what a person does with savepoints at a prompt.
type shell struct {
	t    *testing.T
	c    *harness.Cluster
	line harness.CommandLine
}

// says runs a command: its exit code, what it prints as a whole as a pattern, and a
// part of what it complains of.
func (s shell) says(code int, stdout, stderr string, args ...string) []string {
	s.t.Helper()
	out, errs, got := s.line.Run(args...)
	m := regexp.MustCompile(`^(?s:` + stdout + `)$`).FindStringSubmatch(out)
	if got != code || m == nil || !strings.Contains(errs, stderr) {
		s.t.Fatalf("holdfast %s: exit code %d, want %d\n%s%s\nwant %s and %q", strings.Join(args, " "), got, code, out, errs, stdout, stderr)
	}
	s.t.Logf("holdfast %s: %d: %s", strings.Join(args, " "), got, strings.TrimSpace(out+errs))
	return m
}

// run is `holdfast run` of the counter, which is this test binary.
func (s shell) run(cfg harness.OperatorConfig, flags ...string) *harness.Process {
	s.t.Helper()
	self, err := os.Executable()
	if err != nil {
		s.t.Fatal(err)
	}
	raw, err := json.Marshal(cfg)
	if err != nil {
		s.t.Fatal(err)
	}
	dir := s.t.TempDir()
	out, err := os.Create(filepath.Join(dir, "out"))
	if err != nil {
		s.t.Fatal(err)
	}
	defer out.Close()
	args := append([]string{"run", "--log-dir", dir, "--job", cfg.Job}, flags...)
	p, err := harness.Spawn(harness.Command{
		Path: harness.Binary(s.t, "holdfast"), Args: append(args, "--", self), Stdout: out, Stderr: out,
		Env: append(s.c.ClientEnv(), harness.EnvOperator+"="+string(raw)),
	})
	if err != nil {
		s.t.Fatal(err)
	}
	s.t.Cleanup(func() {
		p.Kill()
		if s.t.Failed() {
			b, _ := os.ReadFile(out.Name())
			s.t.Logf("holdfast %s:\n%s", strings.Join(args, " "), b)
		}
	})
	return p
}

func (s shell) ends(p *harness.Process, code int) {
	s.t.Helper()
	harness.Until(s.t, "holdfast run to end", func() error {
		select {
		case <-p.Done():
			return nil
		default:
			return fmt.Errorf("it runs")
		}
	})
	if got := p.ExitCode(); got != code {
		s.t.Errorf("holdfast run ended with %d, want %d", got, code)
	}
}

// counted waits until the job has exactly the records of the feed behind some offset.
func (s shell) counted(feed *harness.Feed, cfg harness.OperatorConfig, from int64) {
	s.t.Helper()
	uid := cfg.UID
	if uid == "" {
		uid = harness.OperatorUID
	}
	s.c.WaitStatus(cfg.Job, holdfastv1.JobStatus_JOB_STATUS_RUNNING)
	want := harness.RecordCounts(feed.Seed, map[uint32]int64{0: from}, feed.Heads(), feed.Keys)
	harness.Until(s.t, "the counts of "+cfg.Job, func() error {
		got := s.c.Counts(harness.StateRef{Job: cfg.Job, Operator: uid, State: harness.OperatorState})
		if d := harness.Difference(got, want); d != "" {
			return fmt.Errorf("%s", d)
		}
		return nil
	})
}

// TestBackends_CommandLine goes through the life of a job that outlives itself with the
// command line: every command with its text, its JSON and its exit codes, and the counts
// by the oracle. What changed programs may do is as Flink's page on savepoints has it.
func TestBackends_CommandLine(t *testing.T) {
	harness.RequireEnv(t, harness.EnvBin)
	c := harness.Processes(t, harness.Options{})
	s := shell{t, c, c.CommandLine()}
	feed := harness.NewFeed(t, 1, 50)
	cfg := func(job string) harness.OperatorConfig {
		out := feed.Operator(job)
		out.CheckpointMs, out.StateBackend, out.Directory, out.InlineBytes = 100, "rocksdb", c.CheckpointDir("jobs"), 1
		return out
	}
	dir := harness.LocalDir(c.CheckpointDir("savepoints"))
	path := `file://` + regexp.QuoteMeta(dir) + `/savepoint-[0-9a-f]+-[0-9a-f]+`

	first := s.run(cfg("first"))
	feed.Produce(500)
	s.counted(feed, cfg("first"), 0)
	kept := s.says(0, `savepoint of checkpoint \d+ written in \d+ ms: (`+path+`)\n`, "", "savepoint", "first", dir)[1]
	s.says(0, `\{.*"job": "first".*"path": "`+path+`".*\}\n`, "", "savepoint", "first", dir, "-o", "json")
	s.says(3, ``, "JOB_NOT_FOUND", "savepoint", "nobody", dir)
	s.says(5, ``, "is not below an allowed root", "savepoint", "first", "/etc")
	s.says(5, ``, "JOB_STATE", "resume", "first")
	s.says(0, `.*: \d+ files with .* were read, 0 problems\n`, "", "verify", kept)

	stopped := s.says(0, `first is FINISHED; savepoint of checkpoint \d+: (`+path+`)\n`, "", "stop", "first", "--savepoint-path", dir, "--drain")[1]
	s.ends(first, 0)
	s.says(5, ``, "JOB_STATE", "stop", "first", "--savepoint-path", dir)
	s.says(0, `no difference\n`, "", "diff", kept, stopped)
	moved := c.Move(stopped, c.CheckpointDir("moved"))
	feed.Produce(100)

	// One operator removed and a new one: not without the flag, and then without its state.
	changed := cfg("changed")
	changed.UID = "other"
	refused := s.run(changed, "--from-savepoint", moved)
	s.ends(refused, 5)
	s.says(3, ``, "JOB_NOT_FOUND", "describe", "changed")
	allowed := s.run(changed, "--from-savepoint", moved, "--allow-non-restored-state")
	s.counted(feed, changed, 500)
	ended := s.says(0, `\{.*"path": "(`+path+`)".*"status": "CANCELED".*\}\n`, "", "cancel", "changed", dir, "--with-savepoint", "-o", "json")[1]
	s.ends(allowed, 1)

	// The unchanged program has all of it; NO_CLAIM leaves the savepoint, CLAIM takes it.
	free := s.run(cfg("free"), "--from-savepoint", moved, "--claim-mode", "NO_CLAIM")
	s.counted(feed, cfg("free"), 0)
	s.says(0, `free is CANCELED\n`, "", "cancel", "free")
	s.ends(free, 1)
	s.says(0, `.* 0 problems\n`, "", "verify", moved)
	s.run(cfg("claims"), "--from-savepoint", moved, "--claim-mode", "claim")
	s.counted(feed, cfg("claims"), 0)
	harness.Until(t, "the claimed savepoint to be deleted", func() error {
		if _, err := os.Stat(filepath.Join(harness.LocalDir(moved), "_metadata")); err == nil {
			return fmt.Errorf("%s is there", moved)
		}
		return nil
	})

	s.says(0, `deleted .*: \d+ files\n`, "", "savepoint", "--dispose", ended)
	s.says(0, `\{.*"files": \d+.*\}\n`, "", "savepoint", "--dispose", kept, "-o", "json")
	s.says(1, ``, "RESTORE_FAILED: ", "savepoint", "--dispose", kept)
}
