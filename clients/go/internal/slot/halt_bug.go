//go:build bug_no_halt

package slot

// Planted bug, against rule 6.8: records are processed behind the cut of a checkpoint
// with which the job ends. What they put out is put out again by the next job.
func (a *attempt) halts() bool { return false }
