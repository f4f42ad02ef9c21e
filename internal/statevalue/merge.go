package statevalue

import "bytes"

// TTL is how long entries of a state live.
type TTL struct {
	// Ms is 0 where the state has no TTL: its values have no times then.
	Ms int64
	// NowMs is the time of the change or of the look at it.
	NowMs int64
}

func (t TTL) timed() bool { return t.Ms > 0 }

// Expired reports whether what was last updated at timeMs is over.
func (t TTL) Expired(timeMs int64) bool { return Expired(timeMs, t.Ms, t.NowMs) }

// StampList appends a list without times to dst, with the time of now where the
// state has a TTL.
func StampList(dst, list []byte, t TTL) ([]byte, error) {
	if !t.timed() {
		return append(dst, list...), nil
	}
	for len(list) > 0 {
		e, rest, err := NextElement(list, false)
		if err != nil {
			return dst, err
		}
		dst, list = AppendTimedElement(dst, t.NowMs, e.Value), rest
	}
	return dst, nil
}

// StampMap is StampList for a map.
func StampMap(dst, m []byte, t TTL) ([]byte, error) {
	return MergeMap(dst, nil, m, t)
}

// HeadExpired reports whether the first element of a stored list is over.
func HeadExpired(list []byte, t TTL) bool {
	if !t.timed() || len(list) == 0 {
		return false
	}
	at, _, err := Time(list)
	return err == nil && t.Expired(at)
}

// LiveList appends the elements of a stored list that are not over.
func LiveList(dst, list []byte, t TTL) ([]byte, error) {
	for len(list) > 0 {
		e, rest, err := NextElement(list, t.timed())
		if err != nil {
			return dst, err
		}
		if !t.Expired(e.TimeMs) {
			dst = append(dst, e.Raw...)
		}
		list = rest
	}
	return dst, nil
}

// LiveMap appends the entries of a stored map that are not over.
func LiveMap(dst, m []byte, t TTL) ([]byte, error) { return MergeMap(dst, m, nil, t) }

// AppendList appends a stored list and, behind it, elements without times. Where
// the first element of the old list is over, all that are over are left out: the
// oldest one is the first, unless a clock went back.
func AppendList(dst, old, elements []byte, t TTL) ([]byte, error) {
	if HeadExpired(old, t) {
		var err error
		if dst, err = LiveList(dst, old, t); err != nil {
			return dst, err
		}
	} else {
		dst = append(dst, old...)
	}
	return StampList(dst, elements, t)
}

// MergeMap appends a stored map with the entries of another one, which has no
// times, put into it. What is over is left out.
func MergeMap(dst, old, entries []byte, t TTL) ([]byte, error) {
	a, b := readEntries(old, t.timed()), readEntries(entries, false)
	for a.ok || b.ok {
		order := -1
		if !a.ok {
			order = 1
		} else if b.ok {
			order = bytes.Compare(a.head.Key, b.head.Key)
		}
		switch {
		case order >= 0 && t.timed():
			dst = AppendTimedEntry(dst, t.NowMs, b.head.Key, b.head.Value)
		case order >= 0:
			dst = append(dst, b.head.Raw...)
		case !t.Expired(a.head.TimeMs):
			dst = append(dst, a.head.Raw...)
		}
		if order <= 0 {
			a.next()
		}
		if order >= 0 {
			b.next()
		}
	}
	if a.err != nil {
		return dst, a.err
	}
	return dst, b.err
}

// RemoveKeys appends a stored map without some keys. What is over is left out.
func RemoveKeys(dst, old, keys []byte, t TTL) ([]byte, error) {
	a := readEntries(old, t.timed())
	for ; a.ok; a.next() {
		order := 1
		for order > 0 && len(keys) > 0 {
			key, rest, err := NextKey(keys)
			if err != nil {
				return dst, err
			}
			if order = bytes.Compare(a.head.Key, key); order > 0 {
				keys = rest
			}
		}
		if order != 0 && !t.Expired(a.head.TimeMs) {
			dst = append(dst, a.head.Raw...)
		}
	}
	return dst, a.err
}

// MergeKeys appends the union of two columns of keys.
func MergeKeys(dst, a, b []byte) ([]byte, error) {
	for len(a) > 0 || len(b) > 0 {
		order := -1
		var ka, kb, ra, rb []byte
		var err error
		if len(a) == 0 {
			order = 1
		} else if ka, ra, err = NextKey(a); err != nil {
			return dst, err
		}
		if len(b) > 0 {
			if kb, rb, err = NextKey(b); err != nil {
				return dst, err
			}
			if len(a) > 0 {
				order = bytes.Compare(ka, kb)
			}
		}
		if order <= 0 {
			dst, a = AppendKey(dst, ka), ra
		}
		if order >= 0 {
			if order > 0 {
				dst = AppendKey(dst, kb)
			}
			b = rb
		}
	}
	return dst, nil
}
