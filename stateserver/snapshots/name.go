package snapshots

import (
	"crypto/sha256"
	"fmt"

	"github.com/holdfast-io/holdfast/coordinator"
)

// shortJobID is how much of a job's id is in the name of a savepoint, as in Flink.
const shortJobID = 6

// savepointDir names the directory that the leader of a term writes a savepoint into,
// savepoint-<short job id>-<suffix>. No leader ever writes into that of another one,
// and the same checkpoint of a cluster that was set back to a backup has others.
func savepointDir(snap *coordinator.Snapshot, term uint64) string {
	sum := sha256.Sum256(fmt.Appendf(nil, "%s/%d/%d/%d", snap.JobID, snap.Checkpoint.Id, snap.Checkpoint.TriggeredMs, term))
	return fmt.Sprintf("savepoint-%s-%x", snap.JobID[:min(shortJobID, len(snap.JobID))], sum[:6])
}
