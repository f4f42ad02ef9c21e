package keyed

import (
	"fmt"
	"testing"
)

// TestHash_History: the way does not count, only where it leads.
func TestHash_History(t *testing.T) {
	cfg := testConfig()
	cfg.States = cfg.States[:5] // those without a TTL: how far cleaning has come counts too
	straight, winding := newStore(t, cfg), newStore(t, cfg)
	forward, backward, junk := section(stBytes), section(stBytes), section(stBytes)
	for i := range 500 {
		forward.put(fmt.Sprintf("key-%d", i), fmt.Sprint(i))
		backward.put(fmt.Sprintf("key-%d", 499-i), fmt.Sprint(499-i))
		junk.put(fmt.Sprintf("key-%d", i*2), fmt.Sprintf("%0200d", i))
	}
	apply(t, straight, forward)
	mustDo(t, straight.Freeze(1, 2))
	apply(t, straight, section(stInt).put("n", i64(3)))

	apply(t, winding, junk)
	mustDo(t, winding.Freeze(1, 1))
	mustDo(t, winding.Restore(1, 0))
	apply(t, winding, backward, section(stBytes).put("gone", ""))
	winding = reread(t, winding)
	apply(t, winding, junk, section(stInt).put("gone", i64(1)))
	for i := 500; i < 1000; i++ {
		apply(t, winding, section(stBytes).op(OpDelete, fmt.Sprintf("key-%d", i), ""))
	}
	apply(t, winding, backward, section(stBytes).op(OpDelete, "gone", ""), section(stInt).op(OpDelete, "gone", ""))
	mustDo(t, winding.Freeze(1, 2))
	mustDo(t, winding.DropVersion(1, 1))
	apply(t, winding, section(stInt).op(OpAdd, "n", i64(1)).op(OpAdd, "n", i64(2)))

	if straight.Hash() != winding.Hash() || straight.Hash() != winding.Capture().Hash() || straight.Hash() != reread(t, straight).Hash() {
		t.Error("equal contents, different hashes")
	}
}

// TestHash_SwappedValues: within one table, where entries are added up.
func TestHash_SwappedValues(t *testing.T) {
	cfg := testConfig()
	cfg.NumGroups, cfg.End = 1, 1
	one, two := newStore(t, cfg), newStore(t, cfg)
	apply(t, one, section(stBytes).put("a", "1").put("b", "2"))
	apply(t, two, section(stBytes).put("a", "2").put("b", "1"))
	if one.Hash() == two.Hash() {
		t.Error("swapped values have the same hash")
	}
}

func TestHash_Differs(t *testing.T) {
	cfg := func(edit func(*SpaceConfig)) func(*Store) {
		return func(s *Store) {
			c := testConfig()
			edit(&c)
			s.Drop(1)
			mustDo(t, s.Create(1, c))
		}
	}
	hashes := map[uint64]string{}
	for name, change := range map[string]func(*Store){
		"nothing":           func(*Store) {},
		"one byte changed":  func(s *Store) { apply(t, s, section(stBytes).put("a", "3")) },
		"key deleted":       func(s *Store) { apply(t, s, section(stBytes).op(OpDelete, "b", "")) },
		"empty value added": func(s *Store) { apply(t, s, section(stBytes).put("e", "")) },
		"values swapped":    func(s *Store) { apply(t, s, section(stBytes).put("a", "3").put("c", "2")) },
		"key and value":     func(s *Store) { apply(t, s, section(stBytes).op(OpDelete, "a", "").put("2", "a")) },
		"other state":       func(s *Store) { apply(t, s, section(stInt).put("x", f64(1.5))) },
		"frozen":            func(s *Store) { mustDo(t, s.Freeze(1, 2)) },
		"frozen as 3":       func(s *Store) { mustDo(t, s.Freeze(1, 3)) },
		"version dropped":   func(s *Store) { mustDo(t, s.DropVersion(1, 1)) },
		"restored":          func(s *Store) { mustDo(t, s.Restore(1, 1)) },
		"emptied":           func(s *Store) { mustDo(t, s.Restore(1, 0)) },
		"another space":     func(s *Store) { mustDo(t, s.Create(2, SpaceConfig{NumGroups: 1})) },
		"dropped":           func(s *Store) { s.Drop(1) },
		"created anew":      cfg(func(*SpaceConfig) {}),
		"key groups":        cfg(func(c *SpaceConfig) { c.End = 15 }),
		"co-partitioned":    cfg(func(c *SpaceConfig) { c.CoPartitioned = true }),
		"key limit":         cfg(func(c *SpaceConfig) { c.MaxKeyBytes = 65 }),
		"state limit":       cfg(func(c *SpaceConfig) { c.States[2].MaxBytes = 1 }),
		"state kind":        cfg(func(c *SpaceConfig) { c.States[0].Kind = KindMap }),
		"state TTL":         cfg(func(c *SpaceConfig) { c.States[0].TTLMs = 1 }),
		"expired returned":  cfg(func(c *SpaceConfig) { c.States[0].ReturnExpired = true }),
		"cleaned further":   func(s *Store) { s.spaces[1].clean.group = 1 },
		"state type":        cfg(func(c *SpaceConfig) { c.States[0].Type = TypeInt64 }),
	} {
		s := filled(t)
		change(s)
		if other, ok := hashes[s.Hash()]; ok {
			t.Errorf("%q and %q have the same hash", name, other)
		}
		hashes[s.Hash()] = name
	}
}
