package storage

import (
	"fmt"
	"strings"
)

// Roots are the directories below which jobs and callers may name theirs.
type Roots struct {
	any  bool
	list []Location
}

// ParseRoots reads the URLs of roots.
func ParseRoots(urls []string) (Roots, error) {
	var r Roots
	for _, u := range urls {
		l, err := ParseLocation(u)
		if err != nil {
			return Roots{}, fmt.Errorf("allowed root: %w", err)
		}
		r.list = append(r.list, l)
	}
	return r, nil
}

// AnyRoot allows every directory. It is for tests, never for a node.
func AnyRoot() Roots { return Roots{any: true} }

// Find is the innermost root above the directory. ErrRefused if there is none.
func (r Roots) Find(dir Location) (root Location, err error) {
	if r.any {
		return Location{Scheme: dir.Scheme, Authority: dir.Authority}, nil
	}
	found := false
	for _, l := range r.list {
		if _, ok := dir.Below(l); ok && (!found || len(l.Path) > len(root.Path)) {
			root, found = l, true
		}
	}
	switch {
	case found:
		return root, nil
	case len(r.list) == 0:
		return root, fmt.Errorf("%w: directory %s: this node allows no directory; set storage.allowed-roots on every node", ErrRefused, dir)
	default:
		return root, fmt.Errorf("%w: directory %s is not below an allowed root (%s); name one below it, or add a root to storage.allowed-roots on every node",
			ErrRefused, dir, r)
	}
}

// String lists the roots.
func (r Roots) String() string {
	names := make([]string, 0, len(r.list))
	for _, l := range r.list {
		names = append(names, l.String())
	}
	return strings.Join(names, ", ")
}
