package coordinator

import "time"

// yieldTime is how long a periodic checkpoint waits for a savepoint that somebody has
// asked for in vain. Whoever asks is told of a checkpoint's end a little later than the
// leader: where checkpoints follow each other closely the savepoint would never begin.
const yieldTime = time.Second

// Yield is told that a checkpoint could not begin because this one was pending. The
// next periodic one of the job gives way to it.
func (d *Driver) Yield(jobID string, pending uint64) {
	if t := d.jobs[jobID]; t != nil {
		t.yieldBehind, t.yieldSince = pending, time.Time{}
	}
}

// yields tells whether the next periodic checkpoint gives way now.
func (t *jobTimers) yields(now time.Time, j jobState) bool {
	if t.yieldBehind == 0 || j.NextCheckpointId != t.yieldBehind+1 {
		return false
	}
	if t.yieldSince.IsZero() {
		t.yieldSince = now
	}
	return now.Sub(t.yieldSince) < yieldTime
}
