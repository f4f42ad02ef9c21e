//go:build bug_resume_no_resend

package slot

// Planted bug, against rule 7.2 and invariant 6: what was in flight when the
// stream broke is lost.
func (a *attempt) resend() []frame { return nil }
