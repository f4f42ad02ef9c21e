//go:build !bug_resume_no_resend

package slot

// resend are the frames that go again after a resume: all that the log had not
// applied by then (rule 7.2).
func (a *attempt) resend() []frame { return a.inFlight.frames }
