package snapshots

import (
	"crypto/sha256"
	"fmt"
)

// shortJobID is how much of a job's id is in the name of a savepoint, as in Flink.
const shortJobID = 6

// SavepointDir names the directory of a savepoint, savepoint-<short job id>-<suffix>.
// Every leader that writes it gives it the same name, so that it is there once.
func SavepointDir(jobID string, checkpoint uint64) string {
	sum := sha256.Sum256(fmt.Appendf(nil, "%s/%d", jobID, checkpoint))
	return fmt.Sprintf("savepoint-%s-%x", jobID[:min(shortJobID, len(jobID))], sum[:6])
}
