package values

import (
	"encoding/hex"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"testing"

	holdfastv1 "github.com/holdfast-io/holdfast/proto/holdfast/v1"
)

// TestGolden_States decodes the file that every client can test against.
func TestGolden_States(t *testing.T) {
	text, err := os.ReadFile(filepath.Join("..", "..", "..", "..", "clients", "conformance", "values.json"))
	if err != nil {
		t.Fatal(err)
	}
	var file struct {
		Encodings []struct {
			Name, Kind, Type, Bytes string
			KeyType                 string `json:"map_key_type"`
			TimeMs                  *int64 `json:"time_ms"`
			Value                   json.RawMessage
		}
	}
	if err := json.Unmarshal(text, &file); err != nil || len(file.Encodings) == 0 {
		t.Fatalf("%d encodings, %v", len(file.Encodings), err)
	}
	for _, c := range file.Encodings {
		raw, err := hex.DecodeString(c.Bytes)
		if err != nil {
			t.Fatal(err)
		}
		d := &holdfastv1.StateDescriptor{
			Kind: holdfastv1.StateKind(holdfastv1.StateKind_value["STATE_KIND_"+c.Kind]), Type: c.Type, MapKeyType: c.KeyType,
		}
		if c.TimeMs != nil {
			d.Ttl = &holdfastv1.StateTtl{TtlMs: 1}
		}
		got, updated, err := DecodeState(d, raw)
		if err != nil {
			t.Errorf("%s: %v", c.Name, err)
			continue
		}
		for _, at := range updated {
			if c.TimeMs == nil || at.UnixMilli() != *c.TimeMs {
				t.Errorf("%s: updated %v", c.Name, updated)
			}
		}
		if m, ok := got.(Map); ok {
			pairs := [][2]any{}
			for _, e := range m {
				pairs = append(pairs, [2]any{e.Key, e.Value})
			}
			got = pairs
		}
		var want, have any
		b, err := json.Marshal(got)
		if err != nil || json.Unmarshal(b, &have) != nil || json.Unmarshal(c.Value, &want) != nil {
			t.Fatalf("%s: %v", c.Name, err)
		}
		if fmt.Sprint(have) != fmt.Sprint(want) {
			t.Errorf("%s: %v, want %v", c.Name, have, want)
		}
	}
}

func TestDecodeState_Shown(t *testing.T) {
	list := &holdfastv1.StateDescriptor{Kind: holdfastv1.StateKind_STATE_KIND_LIST, Type: "string"}
	m := &holdfastv1.StateDescriptor{Kind: holdfastv1.StateKind_STATE_KIND_MAP, Type: "int64", MapKeyType: "bool", Ttl: &holdfastv1.StateTtl{TtlMs: 5}}
	for _, c := range []struct {
		d          *holdfastv1.StateDescriptor
		raw        string
		text, json string
	}{
		{list, "0100000061030000002c20620000000000000000", `["a", ", b", "", ""]`, `["a",", b","",""]`},
		{m, "e8030000000000000100000000080000000500000000000000e803000000000000010000000108000000feffffffffffffff", "{false: 5, true: -2}", `{"false":5,"true":-2}`},
	} {
		raw, err := hex.DecodeString(c.raw)
		if err != nil {
			t.Fatal(err)
		}
		v, _, err := DecodeState(c.d, raw)
		if err != nil {
			t.Fatal(err)
		}
		b, err := json.Marshal(v)
		if Text(v) != c.text || string(b) != c.json || err != nil {
			t.Errorf("%s, %s, %v; want %s, %s", Text(v), b, err, c.text, c.json)
		}
	}
}

func TestDecodeState_RefusesWhatDoesNotFit(t *testing.T) {
	for name, c := range map[string]struct {
		d   *holdfastv1.StateDescriptor
		raw string
	}{
		"cut list":   {&holdfastv1.StateDescriptor{Kind: holdfastv1.StateKind_STATE_KIND_LIST, Type: "string"}, "0100"},
		"cut map":    {&holdfastv1.StateDescriptor{Kind: holdfastv1.StateKind_STATE_KIND_MAP, Type: "string", MapKeyType: "string"}, "\x00\x00\x00\x00"},
		"bad number": {&holdfastv1.StateDescriptor{Kind: holdfastv1.StateKind_STATE_KIND_LIST, Type: "int64"}, "\x01\x00\x00\x00a"},
		"no time":    {&holdfastv1.StateDescriptor{Kind: holdfastv1.StateKind_STATE_KIND_VALUE, Type: "string", Ttl: &holdfastv1.StateTtl{TtlMs: 1}}, "1234567"},
	} {
		if v, _, err := DecodeState(c.d, []byte(c.raw)); err == nil {
			t.Errorf("%s: %v", name, v)
		}
	}
}
