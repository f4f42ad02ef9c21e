package keyed

// Index is the slots of a hash table with linear probing, for this package and for
// backends with tables of their own. A slot is 0, which is free, or the low 32 bits
// of the key's hash << 32 | what stands for the entry, which is not 0. The length is
// a power of two.
type Index []uint64

// MinIndex is the least length of an Index.
const MinIndex = 8

// CloseGap empties a slot and moves back every later slot of the same run whose home
// does not lie behind the gap.
func (x Index) CloseGap(gap uint32) {
	mask := uint32(len(x) - 1)
	for i := (gap + 1) & mask; x[i] != 0; i = (i + 1) & mask {
		home := uint32(x[i]>>32) & mask
		if (i-home)&mask >= (i-gap)&mask {
			x[gap] = x[i]
			gap = i
		}
	}
	x[gap] = 0
}

// Resized returns an index of n slots with the same entries.
func (x Index) Resized(n int) Index {
	out := make(Index, max(n, MinIndex))
	mask := uint32(len(out) - 1)
	for _, s := range x {
		if s == 0 {
			continue
		}
		i := uint32(s>>32) & mask
		for out[i] != 0 {
			i = (i + 1) & mask
		}
		out[i] = s
	}
	return out
}
