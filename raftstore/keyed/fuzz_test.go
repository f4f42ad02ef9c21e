package keyed

import (
	"bytes"
	"encoding/binary"
	"testing"

	"github.com/cespare/xxhash/v2"
)

// FuzzRead: no input makes Read panic, and what it accepts is consistent. The
// checksum is made right, or the fuzzer would get no further.
func FuzzRead(f *testing.F) {
	f.Add(written(f, snapshotSample(f)))
	f.Add(written(f, New()))
	f.Add([]byte("garbage"))
	f.Fuzz(func(t *testing.T, b []byte) {
		_, _ = Read(bytes.NewReader(b))
		if n := len(b) - recordHead - 8; n > 0 {
			b = append(bytes.Clone(b[:n]), recordEnd, 8, 0, 0, 0)
			b = binary.LittleEndian.AppendUint64(b, xxhash.Sum64(b[:n]))
		}
		s, err := Read(bytes.NewReader(b))
		if err != nil {
			return
		}
		if reread(t, s).Hash() != s.Hash() {
			t.Fatal("accepted, but does not survive a round trip")
		}
		for id, sp := range s.spaces {
			for v := range sp.versions {
				mustDo(t, s.Restore(id, sp.versions[v].version))
			}
		}
	})
}

// FuzzApply: no columns make Apply panic, and a refused flush changes nothing.
func FuzzApply(f *testing.F) {
	words := func(v ...uint32) (b []byte) {
		for _, w := range v {
			b = binary.LittleEndian.AppendUint32(b, w)
		}
		return b
	}
	f.Add(stBytes, int64(ByHash), []byte{1, 2, 1}, words(1, 1, 2), []byte("abcd"), words(3, 0, 1), []byte("abcd"))
	f.Add(stInt, int64(ByHash), []byte{3, 4, 5}, words(1, 1, 1), []byte("aaa"), words(8, 8, 8), make([]byte, 24))
	f.Add(stFloat, int64(3), []byte{0, 9}, words(1<<31, 1<<31), []byte{}, words(1<<31, 1<<31), []byte{})
	one := []byte(elementsOf("a"))
	f.Add(stList, int64(ByHash), []byte{6, 6, 1, 2}, words(1, 1, 1, 1), []byte("aaba"), words(5, 5, 0, 0), append(one, one...))
	f.Add(stMapTTL, int64(ByHash), []byte{7, 8}, words(1, 1), []byte("aa"), words(10, 5), append([]byte(entriesOf("k", "v")), elementsOf("k")...))
	f.Add(stIntTTL, int64(ByHash), []byte{3, 4, 5}, words(1, 1, 1), []byte("aaa"), words(8, 8, 8), make([]byte, 24))
	f.Fuzz(func(t *testing.T, state uint32, group int64, ops, keyLengths, keys, valueLengths, values []byte) {
		sec := Section{StateID: state, KeyGroup: group, Ops: ops, Keys: keys, Values: values,
			KeyLengths: fuzzLengths(keyLengths), ValueLengths: fuzzLengths(valueLengths)}
		for _, co := range []bool{false, true} {
			cfg := testConfig()
			cfg.CoPartitioned = co
			cfg.States[0].MaxBytes, cfg.States[1].MaxBytes = 100, 30
			s := newStore(t, cfg)
			for i := range int64(2) {
				before := s.Hash()
				if err := s.Apply(1, []Section{sec, sec}, i*testTTL); err != nil && s.Hash() != before {
					t.Fatal("a refused flush changed something")
				}
				if reread(t, s).Hash() != s.Hash() {
					t.Fatal("hash changed by a snapshot")
				}
			}
			var v Values
			if err := s.Get(1, 0, state, group, sec.KeyLengths, keys, &v); err == nil && len(v.Found) != len(sec.KeyLengths) {
				t.Fatal("rows are missing")
			}
			_, _, _, _ = s.Scan(1, 0, state, Cursor{KeyGroup: uint32(group), AfterKey: true, Key: keys}, 10, 100)
		}
	})
}

func fuzzLengths(b []byte) (out []uint32) {
	for ; len(b) >= 4; b = b[4:] {
		out = append(out, binary.LittleEndian.Uint32(b))
	}
	return out
}
