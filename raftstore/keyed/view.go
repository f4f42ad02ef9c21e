package keyed

import (
	"maps"
	"slices"
)

// View is an immutable picture of a Store at the moment of Capture: every
// space with its configuration, live state and frozen versions. It is read
// with no lock while the writer goes on. Its methods may be called
// concurrently, but for Release.
type View struct {
	spaces   []viewSpace // by id
	released bool
}

type viewSpace struct {
	id     uint64
	cfg    SpaceConfig
	images []image // the live state as version 0, then the frozen ones
	clean  cleaner
}

// Capture returns a View of now in O(total key groups). It is a write: until
// the next Capture each table is copied once when it is next changed.
func (s *Store) Capture() *View {
	v := &View{spaces: make([]viewSpace, 0, len(s.spaces))}
	for _, id := range slices.Sorted(maps.Keys(s.spaces)) {
		sp := s.spaces[id]
		v.spaces = append(v.spaces, sp.view(id, share(sp.live)))
		sp.epoch = s.nextEpoch()
	}
	return v
}

// view returns a picture of the space with the given live contents.
func (sp *space) view(id uint64, live []stateData) viewSpace {
	images := make([]image, 0, 1+len(sp.versions))
	images = append(append(images, image{0, live}), sp.versions...)
	return viewSpace{id: id, cfg: sp.cfg, images: images, clean: sp.clean}
}

// Frozen returns a state of a space as it was at Capture, version 0 being the
// live one. It may be used after Release. Errors: ErrUnknownSpace,
// ErrUnknownVersion, ErrReleased.
func (v *View) Frozen(id, version uint64) (*Frozen, error) {
	if v.released {
		return nil, ErrReleased
	}
	for i := range v.spaces {
		sp := &v.spaces[i]
		if sp.id != id {
			continue
		}
		for _, im := range sp.images {
			if im.version == version {
				return &Frozen{cfg: sp.cfg, states: im.states}, nil
			}
		}
		return nil, wrapf(ErrUnknownVersion, "%d", version)
	}
	return nil, wrapf(ErrUnknownSpace, "%d", id)
}

// Release lets go of the captured memory. Afterwards Write and Frozen return
// ErrReleased, and Hash is that of an empty Store.
func (v *View) Release() {
	v.spaces, v.released = nil, true
}
