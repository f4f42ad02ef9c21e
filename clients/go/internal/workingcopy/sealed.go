//go:build !bug_newer_before_ready

package workingcopy

// sealedOf is what the checkpoint has of an entry that was changed since its cut
// (rule 6.2).
func sealedOf(e *Entry) (value []byte, found bool) { return e.old.value, e.old.found }

// sealedChange is sealedOf for an entry with a detail.
func sealedChange(e *Entry) *change { return e.old.change }
