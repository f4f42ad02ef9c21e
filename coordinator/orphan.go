package coordinator

import (
	"strconv"
	"strings"

	holdfastv1 "github.com/holdfast-io/holdfast/proto/holdfast/v1"
)

// Orphans are those of the files in a job's directory, by their names relative to
// that, which belong to nothing: nobody writes them any more, and nothing that is
// retained names them. Any node may ask and delete, however far behind it is; age only
// spares uploads that are about to fail.
func (m *Machine) Orphans(jobID string, files []string) []string {
	j := m.byID[jobID]
	if j == nil || ended(j.Status) && !j.DeleteDirectory {
		return nil // what is kept is in the metadata, and not remembered here
	}
	needed := neededFiles(j)
	var out []string
	for _, f := range files {
		if m.orphan(j, f, needed) {
			out = append(out, f)
		}
	}
	return out
}

func (m *Machine) orphan(j jobState, file string, needed map[string]bool) bool {
	if !strings.HasPrefix(file, SharedDir) {
		n, ok := checkpointOf(file)
		return ok && decided(j, n) && !remembered(j, n).GetRetained()
	}
	token, checkpoint, subtask, ok := parseFile(file)
	if !ok || checkpoint != 0 && !decided(j, checkpoint) {
		return false
	}
	if checkpoint == 0 {
		st := m.bySubtask[subtask].st
		if st == nil || token >= st.FencingToken && st.Status != holdfastv1.SubtaskStatus_SUBTASK_STATUS_FINISHED {
			return false
		}
	}
	return !needed[file]
}

// OrphansOfEnded is Orphans for a job that has ended and whose checkpoints stay. What
// these need stands in their manifests and is not remembered here: named has it.
// Nobody writes for the job any more, whatever the name of a file says.
func (m *Machine) OrphansOfEnded(jobID string, files []string, named map[string]bool) []string {
	j := m.byID[jobID]
	if j == nil || !keepsDirectory(j) {
		return nil
	}
	var out []string
	for _, f := range files {
		n, own := checkpointOf(f)
		_, _, _, upload := parseFile(f)
		switch {
		case named[f]:
		case own && !remembered(j, n).GetRetained(), upload && (own || strings.HasPrefix(f, SharedDir)):
			out = append(out, f)
		}
	}
	return out
}

// keepsDirectory tells whether a job has ended and keeps checkpoints, all with their
// manifests, and nothing of it is still to be written or deleted.
func keepsDirectory(j jobState) bool {
	return ended(j.Status) && keepsCheckpoints(j) && !outstanding(j) && len(kept(j)) > 0
}

// kept are the checkpoints that are retained.
func kept(j jobState) (ids []uint64) {
	for _, c := range j.History {
		if c.Retained {
			ids = append(ids, c.Id)
		}
	}
	return ids
}

// decided tells whether nothing is written for a checkpoint any more.
func decided(j jobState, id uint64) bool { return id < j.NextCheckpointId && id != j.Pending.GetId() }

// checkpointOf reads the checkpoint in whose directory a file is.
func checkpointOf(file string) (id uint64, ok bool) {
	dir, _, _ := strings.Cut(file, "/")
	id, err := strconv.ParseUint(strings.TrimPrefix(dir, "chk-"), 10, 64)
	return id, err == nil && CheckpointDir(id) == dir+"/"
}

// JobDirectory is where a job keeps its checkpoints.
type JobDirectory struct {
	JobID string
	// Directory is that of the job's specification; below it the job has <job id>.
	Directory string
	// TimeoutMs is how long a checkpoint may take: files that are younger may be of an
	// upload that goes on.
	TimeoutMs uint64
	// Kept are the checkpoints of a job that has ended; nil: the job goes on.
	Kept []uint64
}

// JobDirectories lists them for the jobs that have not ended, and for those that have
// and keep checkpoints.
func (m *Machine) JobDirectories() []JobDirectory {
	var out []JobDirectory
	for _, j := range m.jobs {
		d := JobDirectory{JobID: j.JobId, Directory: j.Spec.Checkpoint.GetDirectory(), TimeoutMs: j.Spec.Checkpoint.GetTimeoutMs()}
		switch {
		case d.Directory == "":
		case !ended(j.Status):
			out = append(out, d)
		case keepsDirectory(j):
			d.Kept = kept(j)
			out = append(out, d)
		}
	}
	return out
}
