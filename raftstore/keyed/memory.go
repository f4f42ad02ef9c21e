package keyed

import "slices"

// Sizes of what a table and a directory are made of, in bytes.
const (
	wordBytes   = 8  // a slot, and a pointer to a table
	headerBytes = 88 // the fields of a table
)

// MemoryBytes returns what the tables and directories of all spaces take, live and
// frozen, in bytes. A table that several images share counts once. It takes
// O(images x key groups) time and depends on history: it is for display, no
// decision may read it.
func (s *Store) MemoryBytes() (bytes int64) {
	seen := map[*table]bool{}
	for _, sp := range s.spaces {
		for _, im := range append(slices.Clone(sp.versions), image{states: sp.live}) {
			for _, d := range im.states {
				bytes += int64(cap(d.groups)) * wordBytes
				for _, t := range d.groups {
					if t != nil && !seen[t] {
						seen[t] = true
						bytes += headerBytes + int64(cap(t.slots))*wordBytes + int64(cap(t.arena))
					}
				}
			}
		}
	}
	return bytes
}
