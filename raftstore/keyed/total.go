package keyed

// TotalBytes returns keys + values of live entries over all states of a space,
// in bytes; 0 for an unknown one.
func (s *Store) TotalBytes(id uint64) int64 {
	sp := s.spaces[id]
	if sp == nil {
		return 0
	}
	var n int64
	for i := range sp.live {
		n += sp.live[i].bytes
	}
	return n
}
