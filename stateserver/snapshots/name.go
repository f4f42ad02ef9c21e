package snapshots

import (
	"crypto/sha256"
	"fmt"

	"github.com/holdfast-io/holdfast/coordinator"
)

// shortJobID is how much of a job's id is in the name of a savepoint, as in Flink.
const shortJobID = 6

// savepointDir names the directory that the leader of a term writes a savepoint into,
// savepoint-<short job id>-<suffix>. No leader ever writes into that of another one. A
// cluster made from a backup has an id of its own and so other directories, although it
// begins with the same job and checkpoint, and may come to the same term.
func savepointDir(cluster string, snap *coordinator.Snapshot, term uint64) string {
	sum := sha256.Sum256(fmt.Appendf(nil, "%s/%s/%d/%d/%d", cluster, snap.JobID, snap.Checkpoint.Id, snap.Checkpoint.TriggeredMs, term))
	return fmt.Sprintf("savepoint-%s-%x", snap.JobID[:min(shortJobID, len(snap.JobID))], sum[:6])
}
