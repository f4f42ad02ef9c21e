package holdfast

import (
	holdfastv1 "github.com/holdfast-io/holdfast/proto/holdfast/v1"
)

// ClaimMode says whose the files are from which a job begins.
type ClaimMode int

// The claim modes of WithRestore.
const (
	// NoClaim: the user's. The job never deletes them.
	NoClaim ClaimMode = iota
	// Claim: the job's. They go once newer checkpoints have taken their place.
	Claim
)

// Restore is what a job begins from that is made, and not joined.
type Restore struct {
	// Path is the directory of a savepoint or of a retained checkpoint.
	Path string
	// AllowNonRestoredState lets the job begin although the snapshot has state that
	// the program does not have.
	AllowNonRestoredState bool
	ClaimMode             ClaimMode
}

// WithRestore lets the job begin from a savepoint, instead of what
// execution.state-recovery.* says.
func WithRestore(r Restore) Option {
	return func(e *StreamExecutionEnvironment) {
		mode := holdfastv1.ClaimMode_CLAIM_MODE_NO_CLAIM
		if r.ClaimMode == Claim {
			mode = holdfastv1.ClaimMode_CLAIM_MODE_CLAIM
		}
		e.restore = &holdfastv1.RestoreFrom{Path: r.Path, AllowNonRestoredState: r.AllowNonRestoredState, ClaimMode: mode}
	}
}

// restoreFrom is what the configuration says; nil: the job begins from empty.
func (d defaults) restoreFrom() *holdfastv1.RestoreFrom {
	r := d.job.Recovery
	if r.Path == "" {
		return nil
	}
	return &holdfastv1.RestoreFrom{
		Path: r.Path, AllowNonRestoredState: r.IgnoreUnclaimed,
		ClaimMode: holdfastv1.ClaimMode(holdfastv1.ClaimMode_value["CLAIM_MODE_"+r.ClaimMode]),
	}
}
