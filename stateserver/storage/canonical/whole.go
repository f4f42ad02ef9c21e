//go:build !bug_unchecked_block

package canonical

import "hash/crc32"

// blockIsWhole says whether the bytes are those that were written.
func blockIsWhole(p []byte, b block) bool { return crc32.Checksum(p, castagnoli) == b.crc32c }
