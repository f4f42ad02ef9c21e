//go:build bug_newer_before_ready

package workingcopy

// Planted bug, against rule 6.2 and invariant 2: what changed after the cut is
// flushed before CheckpointReady.
func sealedOf(e *Entry) (value []byte, found bool) { return e.value, e.found }

func sealedChange(e *Entry) *change { return &e.detail.pending }
