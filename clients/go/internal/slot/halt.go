//go:build !bug_no_halt

package slot

// halts tells whether the attempt stands still behind the cut of a checkpoint with
// which the job ends (rule 6.8). There are no timers in this client, so nothing waits
// for time to pass and DRAIN is as SUSPEND.
func (a *attempt) halts() bool { return a.halted != 0 }
