package scenario

import (
	"strings"
	"testing"

	"github.com/holdfast-io/holdfast/integration/harness"
	holdfastv1 "github.com/holdfast-io/holdfast/proto/holdfast/v1"
)

// Configured is what a configuration file says, and what the program.
type Configured struct {
	File               string // its path
	Backend, Directory string // in the program, "": it says nothing
	// WantBackend and WantDirectory are what must count.
	WantBackend, WantDirectory string
}

// ConfiguredBackend runs a job whose backend and directory stand in a configuration
// file, in the program, or in both: the program wins. What counts is looked at where it
// cannot be faked: who wrote the snapshot, and below which directory. The counts are
// right through the death of the operator.
func ConfiguredBackend(t *testing.T, c *harness.Cluster, job string, f Configured) {
	feed := harness.NewFeed(t, 1, 100)
	stop := feed.Flow(10, 2*traffic)
	cfg := feed.Operator(job)
	cfg.Configured, cfg.CheckpointMs, cfg.StateBackend, cfg.Directory = true, 0, f.Backend, f.Directory
	env := "HOLDFAST_CONFIG=" + f.File
	first := harness.StartOperator(t, cfg, c.Addresses(), env)
	c.WaitStatus(job, holdfastv1.JobStatus_JOB_STATUS_RUNNING)
	k := c.WaitExported(job, 0)
	spec := c.MustDescribe(job).Spec
	if got := spec.StateBackend.GetName(); got != f.WantBackend {
		t.Errorf("the job has the backend %q, want %q", got, f.WantBackend)
	}
	if got := spec.Checkpoint.GetDirectory(); got != f.WantDirectory || !strings.HasPrefix(k.ExternalPath, f.WantDirectory+"/") {
		t.Errorf("the job has the directory %q and a checkpoint in %s, want %s", got, k.ExternalPath, f.WantDirectory)
	}
	format := ""
	harness.Until(t, "a checkpoint that is not subsumed while it is read", func() (err error) {
		format, err = formatIn(t, c.WaitExported(job, 0).ExternalPath)
		return err
	})
	if want := formatOf(f.WantBackend); format != want {
		t.Errorf("the state is in the format %q, want %q", format, want)
	}
	harness.StartOperator(t, cfg, c.Addresses(), env)
	waitStandby(c, job)
	before := c.MustDescribe(job).Subtasks[0].Attempt
	first.Kill()
	waitAttempt(c, job, before)
	c.WaitCounted(job, 100)
	stop()
	n := harness.Sum(feed.CheckFinal(c, job, nil))
	t.Logf("%s on %s with checkpoints in %s, format %s: %d records counted exactly once", job, f.WantBackend, f.WantDirectory, format, n)
	if err := c.Cancel(job); err != nil {
		t.Error(err)
	}
}

// formatOf is what a backend writes.
func formatOf(backend string) string {
	if backend == "memory" {
		return "canonical"
	}
	return backend
}

// formatIn is the one format of the state in a checkpoint.
func formatIn(t *testing.T, path string) (format string, err error) {
	s, err := loadManifest(t, path)
	if err != nil {
		return "", err
	}
	defer s.Close()
	for _, o := range s.Metadata.Operators {
		for _, st := range o.Subtasks {
			for _, x := range st.Snapshots {
				if format != "" && x.Format != format {
					return "", harness.Stop("%s has the formats %q and %q", path, format, x.Format)
				}
				format = x.Format
			}
		}
	}
	return format, nil
}
