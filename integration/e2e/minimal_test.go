package e2e

import (
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/holdfast-io/holdfast/integration/harness"
	holdfastv1 "github.com/holdfast-io/holdfast/proto/holdfast/v1"
)

// TestMinimalClient_CountsOnce: clients/conformance/minimal.py, which was
// written from docs/protocol.md alone, loses nothing and counts nothing twice
// while it, leaders and its host are killed.
func TestMinimalClient_CountsOnce(t *testing.T) {
	m := newMinimal(t, "200")
	client := m.start("--follow", "--throttle-us", throttle)
	end := m.words.begin()
	killClient := func() {
		client.Kill()
		client = m.start("--follow", "--throttle-us", throttle)
	}
	for _, fault := range []func(){killClient, m.killLeader, killClient, m.killHost, m.killLeader, killClient} {
		m.waitProgress()
		fault()
	}
	m.waitProgress()
	end(leastRecords)
	m.checkState()
	m.checkAttempts(4)

	// Without --follow the file is bounded: the next process ends with the job.
	if err := client.Signal(syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	m.waitExit(client, 1)
	m.waitExit(m.start(), 0)
	m.cluster.WaitStatus(m.job, holdfastv1.JobStatus_JOB_STATUS_FINISHED)

	printed, want := m.printed(), m.words.counts()
	for word, numbers := range printed {
		if low, high := slices.Min(numbers), slices.Max(numbers); low != 1 || high != want[word] {
			t.Errorf("%q was printed from %d to %d, want 1 to %d", word, low, high, want[word])
		}
		slices.Sort(numbers)
		if n := int64(len(slices.Compact(numbers))); n != want[word] {
			t.Errorf("%q: %d different numbers of %d were printed", word, n, want[word])
		}
	}
	if len(printed) != len(want) {
		t.Errorf("%d words were printed, want %d", len(printed), len(want))
	}
	m.logResult(printed)
}

// TestMinimalClient_WithoutCheckpoints: no printed number is repeated or taken
// back while leaders and the host are killed.
func TestMinimalClient_WithoutCheckpoints(t *testing.T) {
	m := newMinimal(t, "0")
	client := m.start("--follow", "--throttle-us", throttle)
	end := m.words.begin()
	for _, fault := range []func(){m.killLeader, m.killHost, m.killLeader} {
		m.waitProgress()
		fault()
	}
	m.waitProgress()
	end(leastRecords)
	m.checkState()
	m.checkAttempts(1)

	// Releasing follows the acknowledgement, so the last lines may be under way.
	harness.Until(t, "every number to be printed", func() error {
		want := m.words.counts()
		got := map[string]int64{}
		for word, numbers := range m.printed() {
			for i, n := range numbers {
				if n != int64(i)+1 {
					return harness.Stop("%q: the number at place %d is %d", word, i+1, n)
				}
			}
			got[word] = int64(len(numbers))
		}
		if d := harness.Difference(got, want); d != "" {
			return fmt.Errorf("printed: %s", d)
		}
		return nil
	})
	m.logResult(m.printed())

	// A flush that was sent to a host and got no further is not released.
	end = m.words.begin()
	host, thaw := m.stall()
	client.Kill()
	m.cluster.Kill(host)
	thaw()
	end(0)
	harness.Until(t, "the state to have what was printed", func() error {
		state := m.state()
		for word, numbers := range m.printed() {
			if high := slices.Max(numbers); high > state[word] {
				return fmt.Errorf("(%s,%d) is printed and the state has %d", word, high, state[word])
			}
		}
		return nil
	})
}

const (
	leastRecords = 20_000
	// throttle, in microseconds, makes the client a little faster than the file
	// grows, so that most barriers and kills come in the middle of a batch.
	throttle = "400"
)

// minimal is a job of minimal.py on a cluster of processes.
type minimal struct {
	t        *testing.T
	cluster  *harness.Cluster
	words    *wordFile
	job      string
	python   string
	stubs    string
	script   string
	interval string
	stdout   string
	stderr   string
	seen     int64
}

func newMinimal(t *testing.T, interval string) *minimal {
	t.Helper()
	env := harness.RequireEnv(t, harness.EnvBin, harness.EnvPython)
	dir, conformance := t.TempDir(), filepath.Join(harness.ModuleRoot(t), "clients", "conformance")
	m := &minimal{
		t: t, words: newWordFile(t, filepath.Join(dir, "words")), job: "minimal", python: env[1],
		stubs: filepath.Join(dir, "stubs"), script: filepath.Join(conformance, "minimal.py"), interval: interval,
		stdout: filepath.Join(dir, "stdout"), stderr: filepath.Join(dir, "stderr"),
	}
	gen := exec.Command(filepath.Join(conformance, "gen.sh"), m.stubs)
	gen.Env = append(os.Environ(), "PYTHON="+m.python)
	if out, err := gen.CombinedOutput(); err != nil {
		t.Fatalf("gen.sh: %v\n%s", err, out)
	}
	m.cluster = harness.Processes(t, harness.Options{})
	t.Cleanup(func() {
		if t.Failed() {
			log, _ := os.ReadFile(m.stderr) // for a person; the failure is told already
			t.Logf("what the clients logged:\n%s", log)
		}
	})
	return m
}

// start starts a process whose output goes behind that of the ones before.
func (m *minimal) start(args ...string) *harness.Process {
	m.t.Helper()
	var files []*os.File
	for _, path := range []string{m.stdout, m.stderr} {
		f, err := os.OpenFile(path, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o644)
		if err != nil {
			m.t.Fatal(err)
		}
		defer f.Close()
		files = append(files, f)
	}
	p, err := harness.Spawn(harness.Command{
		Path: m.python, Stdout: files[0], Stderr: files[1],
		Args: append([]string{m.script, "--file", m.words.path, "--job", m.job, "--checkpoint-interval", m.interval}, args...),
		Env:  append(m.cluster.ClientEnv(), "PYTHONPATH="+m.stubs),
	})
	if err != nil {
		m.t.Fatal(err)
	}
	m.t.Cleanup(p.Kill)
	return p
}

func (m *minimal) waitExit(p *harness.Process, want int) {
	m.t.Helper()
	select {
	case <-p.Done():
	case <-time.After(harness.Patience()):
		m.t.Fatalf("minimal.py did not end within %s", harness.Patience())
	}
	if code := p.ExitCode(); code != want {
		m.t.Fatalf("minimal.py ended with status %d, want %d", code, want)
	}
}

func (m *minimal) state() map[string]int64 {
	return m.cluster.Counts(harness.StateRef{Job: m.job, Operator: "counter", State: "count"})
}

// waitProgress waits until more is counted than ever before.
func (m *minimal) waitProgress() {
	m.t.Helper()
	const records = 1500
	m.cluster.WaitJob(m.job, "run", func(d *holdfastv1.JobDescription) error {
		if n := d.GetSummary().GetSubtasksRunning(); n != 1 {
			return fmt.Errorf("%d subtasks run", n)
		}
		return nil
	})
	harness.Until(m.t, "progress", func() error {
		now := harness.Sum(m.state())
		if now < m.seen+records {
			return fmt.Errorf("counted %d, before it was %d", now, m.seen)
		}
		m.seen = now
		return nil
	})
}

func (m *minimal) killLeader() {
	old := m.cluster.Leader()
	m.cluster.Kill(old.Index)
	m.cluster.WaitForNewLeader(old)
	m.waitProgress()
	m.cluster.Start(old.Index)
	m.cluster.WaitCaughtUp(old.Index)
}

// killHost kills the host while frames that it could not get committed are in
// flight.
func (m *minimal) killHost() {
	host, thaw := m.stall()
	m.cluster.Kill(host)
	thaw()
	m.waitProgress()
	m.cluster.Start(host)
	m.cluster.WaitCaughtUp(host)
}

// stall stops all nodes but the client's host, so that nothing is committed, and
// returns when the client has had more time than it takes to send a flush.
func (m *minimal) stall() (host int, thaw func()) {
	m.t.Helper()
	m.cluster.WaitForAllToKnow()
	host = m.cluster.NodeIndex(m.cluster.MustDescribe(m.job).GetSubtasks()[0].GetNodeId())
	if host < 0 {
		m.t.Fatal("the subtask's node is not a member")
	}
	var frozen []int
	for _, i := range m.cluster.RunningNodes() {
		if i != host && m.cluster.Freeze(i) {
			frozen = append(frozen, i)
		}
	}
	m.words.waitAppended(3000)
	return host, func() {
		for _, i := range frozen {
			m.cluster.Thaw(i)
		}
	}
}

// checkState compares the live state with the whole file.
func (m *minimal) checkState() {
	m.t.Helper()
	want := m.words.counts()
	harness.Until(m.t, "the state to be what the file has", func() error {
		if d := harness.Difference(m.state(), want); d != "" {
			return fmt.Errorf("%s", d)
		}
		return nil
	})
	m.cluster.VerifyReplicas()
}

// checkAttempts checks that only the end of a process ended an attempt.
func (m *minimal) checkAttempts(processes int) {
	m.t.Helper()
	log := m.read(m.stderr)
	attempts, resumes := strings.Count(log, "assigned attempt"), strings.Count(log, "resumed attempt")
	if attempts != processes || resumes == 0 {
		m.t.Errorf("%d attempts and %d resumes, want %d attempts and at least one resume", attempts, resumes, processes)
	}
	m.t.Logf("%d processes, %d attempts, %d resumes", processes, attempts, resumes)
}

// printed are the numbers that were printed for each word, in order. A line
// that a kill cut off is no number.
func (m *minimal) printed() map[string][]int64 {
	m.t.Helper()
	out := map[string][]int64{}
	for line := range strings.Lines(m.read(m.stdout)) {
		at := strings.LastIndexByte(line, ',')
		var n int64
		if _, err := fmt.Sscanf(line[at+1:], "%d)\n", &n); at < 1 || err != nil {
			continue
		}
		word := line[strings.LastIndexByte(line[:at], '(')+1 : at]
		out[word] = append(out[word], n)
	}
	return out
}

func (m *minimal) read(path string) string {
	m.t.Helper()
	raw, err := os.ReadFile(path)
	if err != nil {
		m.t.Fatal(err)
	}
	return string(raw)
}

func (m *minimal) logResult(printed map[string][]int64) {
	lines := 0
	for _, numbers := range printed {
		lines += len(numbers)
	}
	m.t.Logf("%d records, %d words, 0 lost, 0 double counted; %d numbers printed",
		harness.Sum(m.words.counts()), len(printed), lines)
}

// wordFile is a file that words are appended to, not always whole lines at a
// time. The oracle reads the file and nothing else.
type wordFile struct {
	t        *testing.T
	path     string
	random   *rand.Rand
	appended atomic.Int64
}

func newWordFile(t *testing.T, path string) *wordFile {
	t.Helper()
	if err := os.WriteFile(path, nil, 0o644); err != nil {
		t.Fatal(err)
	}
	return &wordFile{t: t, path: path, random: rand.New(rand.NewPCG(1, 2))}
}

// begin appends 2000 words a second until end is called, which adds what is
// missing to least words in all, or until the test ends.
func (w *wordFile) begin() (end func(least int64)) {
	stop, done := make(chan int64, 1), make(chan struct{})
	go func() {
		defer close(done)
		if err := w.write(stop); err != nil {
			w.t.Error(err)
		}
	}()
	var once sync.Once
	end = func(least int64) {
		once.Do(func() { stop <- least })
		<-done
	}
	w.t.Cleanup(func() { end(0) })
	return end
}

func (w *wordFile) write(stop <-chan int64) error {
	f, err := os.OpenFile(w.path, os.O_APPEND|os.O_WRONLY, 0)
	if err != nil {
		return err
	}
	defer f.Close()
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	for rest := ""; ; {
		select {
		case least := <-stop:
			for w.appended.Load() < least {
				rest += w.word()
			}
			_, err := f.WriteString(rest)
			return err
		case <-tick.C:
		}
		for range 10 {
			rest += w.word()
		}
		cut := w.random.IntN(len(rest) + 1)
		if _, err := f.WriteString(rest[:cut]); err != nil {
			return err
		}
		rest = rest[cut:]
	}
}

// word makes a line. Some words are frequent, some have more bytes than
// characters.
func (w *wordFile) word() string {
	w.appended.Add(1)
	return fmt.Sprintf("%c%d\n", []rune("abé")[w.random.IntN(3)], int(w.random.ExpFloat64()*100))
}

// waitAppended waits until n more words are there.
func (w *wordFile) waitAppended(n int64) {
	w.t.Helper()
	n += w.appended.Load()
	harness.Until(w.t, "more words", func() error {
		if now := w.appended.Load(); now < n {
			return fmt.Errorf("%d of %d", now, n)
		}
		return nil
	})
}

func (w *wordFile) counts() map[string]int64 {
	w.t.Helper()
	raw, err := os.ReadFile(w.path)
	if err != nil {
		w.t.Fatal(err)
	}
	out := map[string]int64{}
	for line := range strings.Lines(string(raw)) {
		if word, whole := strings.CutSuffix(line, "\n"); whole {
			out[word]++
		}
	}
	return out
}
