package keyed

import "github.com/cespare/xxhash/v2"

// ByHash as a key group says that the key's hash decides.
const ByHash int64 = -1

// KeyGroup returns the key group of a key among numGroups: the high 32 bits
// of xxhash64(key), seed 0, scaled by multiply-shift. It is a permanent
// format: snapshots, checkpoints and rescaling depend on it.
func KeyGroup(key []byte, numGroups uint32) uint32 {
	return groupOf(xxhash.Sum64(key), numGroups)
}

// groupOf scales the high half of a key's hash. The low half is left to the
// table inside the group, so that one hash serves both.
func groupOf(hash uint64, numGroups uint32) uint32 {
	return uint32((hash >> 32) * uint64(numGroups) >> 32)
}

// HashKey returns the hash that Batch.Hashes has for a key.
func HashKey(key []byte) uint64 { return xxhash.Sum64(key) }
