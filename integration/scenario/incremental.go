package scenario

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/holdfast-io/holdfast/integration/harness"
	holdfastv1 "github.com/holdfast-io/holdfast/proto/holdfast/v1"
	"github.com/holdfast-io/holdfast/stateserver/storage"
	"github.com/holdfast-io/holdfast/stateserver/storage/file"
	"github.com/holdfast-io/holdfast/stateserver/storage/metadata"
)

// IncrementalCheckpoints takes a number of checkpoints that share files, and kills the
// operator, its host and the leader in turn, kills times in all. No file that a
// retained checkpoint names is ever missing; the directory does not grow with the
// number of checkpoints; and once nothing is written any more it has the files of the
// retained ones and no other (invariant 12).
func IncrementalCheckpoints(t *testing.T, c *harness.Cluster, backend string, checkpoints uint64, kills int) {
	m := startCell(t, c, Cell{Backend: backend, Storage: "incremental", Directory: c.CheckpointDir("incremental")}, func(cfg *harness.OperatorConfig) {
		cfg.CheckpointMs, cfg.TimeoutMs, cfg.Retained = 50, 4000, 3
	})
	id := c.MustDescribe(m.cfg.Job).Summary.JobId
	dir := filepath.Join(harness.LocalDir(m.cfg.Directory), id)
	victims := []Victim{OperatorVictim, HostVictim, LeaderVictim}
	most := make([]int, 2) // files, in each half
	for n := range kills {
		until := checkpoints * uint64(n+1) / uint64(kills)
		harness.Until(t, fmt.Sprintf("%d completed checkpoints", until), func() error {
			half := 2 * n / kills
			most[half] = max(most[half], len(files(dir)))
			if done := c.Checkpoints(m.cfg.Job).Counts.GetCompleted(); done < until {
				return errorf("there are %d", done)
			}
			return nil
		})
		m.round(victims[n%len(victims)])
	}
	m.stop()
	records := harness.Sum(m.feed.CheckFinal(c, m.cfg.Job, nil))
	for _, o := range m.operators {
		o.Kill()
	}
	kept := waitNoOrphans(t, c, m.cfg.Job, dir)
	for _, k := range kept {
		verifyClean(t, c, k.ExternalPath)
	}
	n := c.Checkpoints(m.cfg.Job).Counts
	t.Logf("%s: %d checkpoints completed and %d aborted through %d kills, %d records; at most %d files in the first half and %d in the second, %d in the end",
		backend, n.GetCompleted(), n.GetAborted(), kills, records, most[0], most[1], len(files(dir)))
	if most[1] > 2*most[0] {
		t.Errorf("the directory grew from %d files to %d", most[0], most[1])
	}
}

// waitNoOrphans waits until a job's directory, to which nobody writes, has exactly
// the files of the retained checkpoints, which it returns.
func waitNoOrphans(t *testing.T, c *harness.Cluster, job, dir string) (kept []*holdfastv1.Checkpoint) {
	t.Helper()
	harness.Until(t, "the files of the retained checkpoints and no other", func() error {
		kept = nil
		named := map[string]bool{}
		for _, k := range c.Checkpoints(job).Checkpoints {
			if !k.Retained {
				continue
			}
			if k.ExternalPath == "" {
				return errorf("checkpoint %d has no metadata yet", k.Id)
			}
			kept = append(kept, k)
			if err := namedBy(t, k.ExternalPath, named); err != nil {
				return err
			}
		}
		there := map[string]bool{}
		for _, f := range files(dir) {
			there[strings.TrimPrefix(f, dir+"/")] = true
		}
		if d := missing(named, there); len(d) > 0 {
			return errorf("retained checkpoints name files that are not there: %v", d)
		}
		if d := missing(there, named); len(d) > 0 {
			return errorf("%d of %d files belong to nothing: %v", len(d), len(there), d[:min(5, len(d))])
		}
		return nil
	})
	return kept
}

// loadManifest reads the _metadata of a checkpoint.
func loadManifest(t *testing.T, path string) (*metadata.Snapshot, error) {
	return metadata.Load(t.Context(), storage.NewRegistry(storage.AnyRoot(), map[string]storage.Scheme{"file": file.Scheme{}}), path)
}

// namedBy adds the files that a checkpoint needs, and its metadata.
func namedBy(t *testing.T, path string, into map[string]bool) error {
	s, err := loadManifest(t, path)
	if err != nil {
		return err
	}
	defer s.Close()
	into[filepath.Base(path)+"/_metadata"] = true
	for _, f := range metadata.Files(s.Metadata) {
		into[f.Handle.Path] = true
	}
	return nil
}

// missing are the names of a that b has not.
func missing(a, b map[string]bool) (out []string) {
	for name := range a {
		if !b[name] {
			out = append(out, name)
		}
	}
	slices.Sort(out)
	return out
}

// SharedFiles takes checkpoints of a job in peace: none is refused, and they share
// files from the first one on (invariant 12).
func SharedFiles(t *testing.T, c *harness.Cluster, backend string) {
	f := harness.StartFlusher(c, harness.FlusherConfig{
		Job: "shares-" + backend, StateBackend: backend, Directory: c.CheckpointDir("shares"), CheckpointMs: 50, Pause: traffic,
		Incremental: true, InlineThreshold: 1, Retained: 10, Keys: 5000, // of which few change
	})
	c.WaitExported(f.JobID, c.WaitCheckpoint(f.JobID, 7).Id-1)
	f.Check()
	r := c.Checkpoints(f.JobID)
	if n := r.Counts; n.GetAborted() > 0 || n.GetCompleted() < 8 {
		t.Errorf("%s: %v; no checkpoint may be refused: %v", backend, n, r.Checkpoints)
	}
	of := map[string]int{} // checkpoints that name a file
	for _, k := range r.Checkpoints {
		if !k.Retained || k.ExternalPath == "" {
			continue
		}
		names := map[string]bool{}
		if err := namedBy(t, k.ExternalPath, names); err != nil {
			t.Fatal(err)
		}
		for name := range names {
			of[name]++
		}
	}
	shared := 0
	for _, n := range of {
		if n > 1 {
			shared++
		}
	}
	if shared == 0 {
		t.Errorf("%s: no two checkpoints share a file: %v", backend, of)
	}
	t.Logf("%s: %d checkpoints, %d files, %d of them in several", backend, r.Counts.GetCompleted(), len(of), shared)
	if err := c.Cancel(f.JobID); err != nil {
		t.Error(err)
	}
}

// DiskUse is a state of a bounded size that is written again and again.
type DiskUse struct {
	Backend     string
	Checkpoints uint64
	Kills       int
	Keys        int
	ValueBytes  int
	// Most is how many times the live state the checkpoint directory may take.
	Most int64
}

// DiskUseLevelsOff takes incremental checkpoints of a state that keeps its size, and
// kills the operator, its host and the leader in turn: the bytes below the checkpoint
// directory stay within a multiple of the live state, and the second half of the
// checkpoints takes no more than the first. In the end the directory has the files of
// the retained checkpoints and no other, `holdfast verify` finds each of them, and the
// state has the newest value of every key.
func DiskUseLevelsOff(t *testing.T, c *harness.Cluster, u DiskUse) {
	m := startCell(t, c, Cell{Backend: u.Backend, Storage: "disk", Directory: c.CheckpointDir("disk-" + u.Backend)}, func(cfg *harness.OperatorConfig) {
		cfg.CheckpointMs, cfg.TimeoutMs, cfg.Retained, cfg.Tolerable, cfg.HeadFile = 50, 4000, 3, 1000, false
		cfg.ValueBytes, cfg.Keys = u.ValueBytes, u.Keys
	})
	m.feed.Keys = u.Keys
	m.feed.Produce(int64(5 * u.Keys)) // nearly every key is there from now on
	c.WaitCheckpoint(m.cfg.Job, c.WaitCheckpoint(m.cfg.Job, 0).Id)
	live := int64(u.Keys * u.ValueBytes)
	dir := filepath.Join(harness.LocalDir(m.cfg.Directory), c.MustDescribe(m.cfg.Job).Summary.JobId)
	rows := []string{"checkpoints  bytes at most  times the live state"}
	var most []int64
	for n := range u.Kills {
		kill, again := m.aim([]Victim{OperatorVictim, HostVictim, LeaderVictim}[n%3])
		kill()
		c.WaitCheckpoint(m.cfg.Job, c.WaitCheckpoint(m.cfg.Job, c.Completed(m.cfg.Job)).Id)
		again()
		until, largest := u.Checkpoints*uint64(n+1)/uint64(u.Kills), int64(0)
		harness.Until(t, fmt.Sprintf("%d completed checkpoints", until), func() error {
			largest = max(largest, bytesIn(dir))
			if done := c.Checkpoints(m.cfg.Job).Counts.GetCompleted(); done < until {
				return errorf("there are %d", done)
			}
			return nil
		})
		most = append(most, largest)
		rows = append(rows, fmt.Sprintf("%11d  %13d  %.2f", until, largest, float64(largest)/float64(live)))
	}
	m.stop()
	checkNewest(t, c, m)
	for _, o := range m.operators {
		o.Kill()
	}
	for _, k := range waitNoOrphans(t, c, m.cfg.Job, dir) {
		t.Log(strings.TrimSpace(c.CommandLine().Must("verify", k.ExternalPath)))
	}
	n := c.Checkpoints(m.cfg.Job).Counts
	t.Logf("%s: %d checkpoints completed and %d aborted through %d kills; live state %d bytes; %d bytes in the end\n%s",
		u.Backend, n.GetCompleted(), n.GetAborted(), u.Kills, live, bytesIn(dir), strings.Join(rows, "\n"))
	half := len(most) / 2
	if first, second := slices.Max(most[:half]), slices.Max(most[half:]); second > u.Most*live || second > 2*first {
		t.Errorf("at most %d bytes in the first half and %d in the second; the live state has %d, and may take %d times that", first, second, live, u.Most)
	}
}

// checkNewest waits until the live state has the newest value of every key.
func checkNewest(t *testing.T, c *harness.Cluster, m *cellRun) {
	t.Helper()
	ref := harness.StateRef{Job: m.cfg.Job, Operator: harness.OperatorUID, State: harness.OperatorState}
	l := LargeState{ValueBytes: m.cfg.ValueBytes}
	harness.Until(t, "the newest value of every key", func() error {
		v := l.verifier(m.feed)
		if err := c.ScanEach(c.RunningNodes()[0], ref, 0, v.entry); err != nil {
			return err
		}
		if len(v.left) > 0 {
			return errorf("%d keys are missing", len(v.left))
		}
		return nil
	})
}

// bytesIn is what the files below a directory have.
func bytesIn(dir string) (n int64) {
	for _, name := range files(dir) {
		if info, err := os.Stat(name); err == nil { // it may be deleted meanwhile
			n += info.Size()
		}
	}
	return n
}
