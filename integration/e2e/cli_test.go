package e2e

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"

	"github.com/holdfast-io/holdfast/integration/harness"
)

// local is a cluster that was started by `holdfast cluster start`, and what a
// person does with it at a prompt.
type local struct {
	t       *testing.T
	dir     string // of the cluster
	logs    string // of the operators
	address string
	// security is nil without TLS.
	security *harness.Security
}

// startLocal starts a cluster by the command line. It is stopped at the end.
func startLocal(t *testing.T) *local {
	t.Helper()
	return startLocalTLS(t, "")
}

// startLocalTLS is startLocal with a --tls-dir; the clients get nothing of it by
// themselves.
func startLocalTLS(t *testing.T, tlsDir string) *local {
	t.Helper()
	harness.RequireEnv(t, harness.EnvBin)
	top := t.TempDir()
	l := &local{t: t, dir: filepath.Join(top, "cluster"), logs: filepath.Join(top, "logs")}
	var started struct {
		Address string `json:"address"`
	}
	harness.Guard(t, filepath.Join(l.dir, "cluster.json"), l.dir)
	t.Cleanup(func() {
		if t.Failed() {
			l.showLogs()
		}
		l.must("cluster", "stop", "--dir", l.dir)
	})
	start := []string{"cluster", "start", "--nodes", "3", "--dir", l.dir}
	if tlsDir != "" {
		start = append(start, "--tls-dir", tlsDir)
	} else if harness.AllTLS() {
		l.security = harness.NewSecurity(t, filepath.Join(top, "tls"), "n1", "n2", "n3")
		start = append(start, "--tls-dir", l.security.Dir())
	}
	l.json(&started, start...)
	l.address = started.Address
	return l
}

// env is what a person exports.
func (l *local) env() []string {
	env := []string{"HOLDFAST_ADDRESS=" + l.address}
	if l.security != nil {
		env = append(env, l.security.Environment()...)
	}
	return env
}

func (l *local) showLogs() {
	logs, _ := filepath.Glob(filepath.Join(l.logs, "*.log"))
	for _, name := range logs {
		b, _ := os.ReadFile(name)
		lines := strings.Split(strings.TrimSpace(string(b)), "\n")
		l.t.Logf("the end of %s:\n%s", filepath.Base(name), strings.Join(lines[max(0, len(lines)-20):], "\n"))
	}
}

func (l *local) run(args ...string) (stdout, stderr string, code int) {
	l.t.Helper()
	return harness.NewCommandLine(l.t, l.env()).Run(args...)
}

func (l *local) must(args ...string) string {
	l.t.Helper()
	return harness.NewCommandLine(l.t, l.env()).Must(args...)
}

func (l *local) json(to any, args ...string) {
	l.t.Helper()
	harness.NewCommandLine(l.t, l.env()).JSON(to, args...)
}

// described is what `holdfast describe -o json` tells of a job.
type described struct {
	Status  string `json:"status"`
	Newest  uint64 `json:"latest_completed_checkpoint"`
	Standby int    `json:"standby_slots"`
	Reason  *struct {
		Reason   string            `json:"reason"`
		Message  string            `json:"message"`
		Metadata map[string]string `json:"metadata"`
	} `json:"reason"`
	Subtasks []struct {
		Status    string `json:"status"`
		Attempt   uint64 `json:"attempt"`
		Positions []struct {
			Partition  uint32 `json:"partition"`
			NextOffset int64  `json:"next_offset"`
		} `json:"positions"`
	} `json:"subtask_list"`
}

// waitJob waits until a job pleases ok.
func (l *local) waitJob(job, what string, ok func(d described) error) described {
	l.t.Helper()
	var d described
	harness.Until(l.t, what+" of "+job, func() error {
		d = described{}
		out, errs, code := l.run("describe", job, "-o", "json")
		if code != 0 {
			return fmt.Errorf("exit code %d: %s", code, errs)
		}
		if err := json.Unmarshal([]byte(out), &d); err != nil {
			return err
		}
		return ok(d)
	})
	return d
}

func (l *local) waitStatus(job, want string) described {
	l.t.Helper()
	return l.waitJob(job, "the status "+want, func(d described) error {
		if d.Status != want {
			return fmt.Errorf("it is %s: %v", d.Status, d.Reason)
		}
		return nil
	})
}

// waitPosition waits for a completed checkpoint whose next offset of partition
// 0 is at least a number.
func (l *local) waitPosition(job string, offset int64) {
	l.t.Helper()
	l.waitJob(job, fmt.Sprintf("a checkpoint at offset %d", offset), func(d described) error {
		if d.Newest == 0 || len(d.Subtasks[0].Positions) == 0 || d.Subtasks[0].Positions[0].NextOffset < offset {
			return fmt.Errorf("checkpoint %d, positions %v", d.Newest, d.Subtasks[0].Positions)
		}
		return nil
	})
}

// example is a `holdfast run` of the checkpoint example.
type example struct {
	*harness.Process
	l   *local
	job string
	out string // of the command
}

// startExample runs the example as a person would.
func (l *local) startExample(b *broker, job, topic string, runFlags []string, programFlags ...string) *example {
	l.t.Helper()
	args := append([]string{"run", "--log-dir", l.logs, "--job", job, "-o", "json"}, runFlags...)
	args = append(args, "--", harness.Binary(l.t, "holdfast-example-checkpoint"),
		"-bootstrap-servers", b.address, "-topic", topic, "-group-id", job, "-job-name", job)
	args = append(args, programFlags...)
	e := &example{l: l, job: job, out: filepath.Join(l.t.TempDir(), "run.out")}
	f, err := os.Create(e.out)
	if err != nil {
		l.t.Fatal(err)
	}
	defer f.Close()
	e.Process, err = harness.Spawn(harness.Command{Path: harness.Binary(l.t, "holdfast"), Args: args, Env: l.env(), Stdout: f, Stderr: f})
	if err != nil {
		l.t.Fatal(err)
	}
	// SIGTERM, so that it ends its operators; they die with it in any case.
	l.t.Cleanup(e.Kill)
	return e
}

// operatorPid is the newest operator process that the run has started.
func (e *example) operatorPid() int {
	e.l.t.Helper()
	pid := 0
	harness.Until(e.l.t, "the pid of an operator", func() error {
		raw, err := os.ReadFile(e.out)
		if err != nil {
			return err
		}
		for _, line := range strings.Split(string(raw), "\n") {
			var event struct {
				Event string `json:"event"`
				Pid   int    `json:"pid"`
			}
			if json.Unmarshal([]byte(line), &event) == nil && event.Event == "started" {
				pid = event.Pid
			}
		}
		if pid == 0 {
			return fmt.Errorf("holdfast run says: %s", raw)
		}
		return nil
	})
	return pid
}

// killOperator kills the operator process, and tells its pid.
func (e *example) killOperator() int {
	e.l.t.Helper()
	pid := e.operatorPid()
	if err := syscall.Kill(pid, syscall.SIGKILL); err != nil {
		e.l.t.Fatalf("kill operator %d: %v", pid, err)
	}
	return pid
}

// printed is one line of the example: (record,number).
type printed struct {
	record string
	number int64
}

var linePattern = regexp.MustCompile(`^\d{4}-\d{2}-\d{2}T\d{2}:\d{2}:\d{2}\.\d{3}: \((.*),(\d+)\)$`)

// outFile is the file of the n-th process of a job, as its name says.
func (l *local) outFile(job string, n int) string {
	files, _ := filepath.Glob(filepath.Join(l.logs, fmt.Sprintf("holdfast-*-%s-%d-*.out", job, n)))
	if len(files) == 0 {
		return ""
	}
	return files[0]
}

// printedBy are the lines that the n-th process of a job has printed so far.
func (l *local) printedBy(job string, n int) ([]printed, error) {
	name := l.outFile(job, n)
	if name == "" {
		return nil, fmt.Errorf("there is no output file %d of %s in %s", n, job, l.logs)
	}
	raw, err := os.ReadFile(name)
	if err != nil {
		return nil, err
	}
	var out []printed
	for _, line := range strings.SplitAfter(string(raw), "\n") {
		if !strings.HasSuffix(line, "\n") {
			continue
		}
		m := linePattern.FindStringSubmatch(strings.TrimSuffix(line, "\n"))
		if m == nil {
			return out, fmt.Errorf("%q is no line of the example", line)
		}
		number, err := strconv.ParseInt(m[2], 10, 64)
		if err != nil {
			return out, err
		}
		out = append(out, printed{m[1], number})
	}
	return out, nil
}

// waitPrinted waits until the n-th process has printed exactly these lines.
func (l *local) waitPrinted(job string, n int, want ...printed) {
	l.t.Helper()
	harness.Until(l.t, fmt.Sprintf("process %d of %s to print %v", n, job, want), func() error {
		got, err := l.printedBy(job, n)
		if err == nil && !slices.Equal(got, want) {
			err = fmt.Errorf("it printed %v", got)
		}
		return err
	})
}

func createLog(t *testing.T) *os.File {
	t.Helper()
	f, err := os.CreateTemp(t.TempDir(), "operator-*.log")
	if err != nil {
		t.Fatal(err)
	}
	return f
}

func tailOf(name string) string {
	b, err := os.ReadFile(name)
	if err != nil {
		return err.Error()
	}
	lines := strings.Split(strings.TrimSpace(string(b)), "\n")
	return strings.Join(lines[max(0, len(lines)-20):], "\n")
}
