package keyed

import "slices"

// Freeze keeps the live state of a space as a version, which must be above 0
// and not yet frozen. It takes O(key groups) time; the first later write to
// each table copies it. Errors: ErrUnknownSpace, ErrVersionExists,
// ErrMalformed for version 0.
func (s *Store) Freeze(id, version uint64) error {
	sp, err := s.space(id)
	if err != nil {
		return err
	}
	if version == 0 {
		return wrapf(ErrMalformed, "version 0 is the live state")
	}
	i, found := sp.find(version)
	if found {
		return wrapf(ErrVersionExists, "%d", version)
	}
	sp.versions = slices.Insert(sp.versions, i, image{version, share(sp.live)})
	sp.epoch = s.nextEpoch()
	return nil
}

// DropVersion forgets a frozen version. An unknown version is no error, so
// that a command may be applied twice. Errors: ErrUnknownSpace.
func (s *Store) DropVersion(id, version uint64) error {
	return s.dropVersions(id, func(v uint64) bool { return v == version })
}

// DropVersionsBelow forgets every frozen version below version. Errors:
// ErrUnknownSpace.
func (s *Store) DropVersionsBelow(id, version uint64) error {
	return s.dropVersions(id, func(v uint64) bool { return v < version })
}

func (s *Store) dropVersions(id uint64, drop func(uint64) bool) error {
	sp, err := s.space(id)
	if err != nil {
		return err
	}
	var kept []image
	for _, im := range sp.versions {
		if !drop(im.version) {
			kept = append(kept, im)
		}
	}
	sp.versions = kept
	return nil
}

// Restore makes a frozen version the live state, 0 being the empty one, by
// reference: it takes O(key groups) time, and the version stays. Errors:
// ErrUnknownSpace, ErrUnknownVersion.
func (s *Store) Restore(id, version uint64) error {
	sp, err := s.space(id)
	if err != nil {
		return err
	}
	live := make([]stateData, len(sp.cfg.States))
	if version != 0 {
		frozen, err := sp.states(version)
		if err != nil {
			return err
		}
		live = share(frozen)
	}
	// No new epoch: Freeze took one, so every table of a version is older than
	// the space and will be cloned.
	sp.live = live
	return nil
}

// Versions returns the frozen versions of a space, ascending. Errors:
// ErrUnknownSpace.
func (s *Store) Versions(id uint64) ([]uint64, error) {
	sp, err := s.space(id)
	if err != nil {
		return nil, err
	}
	out := make([]uint64, len(sp.versions))
	for i, im := range sp.versions {
		out[i] = im.version
	}
	return out, nil
}
