//go:build bug_unchecked_block

package canonical

// Planted bug: the checksum of a block is not looked at.
func blockIsWhole([]byte, block) bool { return true }
