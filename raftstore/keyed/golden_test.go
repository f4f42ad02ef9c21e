package keyed

import (
	"encoding/hex"
	"encoding/json"
	"os"
	"path/filepath"
	"testing"
)

// TestCombine_Golden runs the operations of the file that every client can test
// against.
func TestCombine_Golden(t *testing.T) {
	text, err := os.ReadFile(filepath.Join("..", "..", "clients", "conformance", "values.json"))
	mustDo(t, err)
	var file struct {
		Operations []struct {
			Name, Kind, Type, Op string
			TTLMs                int64 `json:"ttl_ms"`
			NowMs                int64 `json:"now_ms"`
			Old, Operand, Want   *string
		}
	}
	mustDo(t, json.Unmarshal(text, &file))
	kinds := map[string]Kind{"VALUE": KindValue, "REDUCING": KindValue, "LIST": KindList, "MAP": KindMap}
	types := map[string]Type{"string": TypeOther, "int64": TypeInt64, "float64": TypeFloat64}
	ops := map[string]Op{"PUT": OpPut, "ADD": OpAdd, "MIN": OpMin, "APPEND": OpAppend, "MAP_PUT": OpMapPut, "MAP_DELETE": OpMapDelete}
	bytes := func(s *string) []byte {
		if s == nil {
			return nil
		}
		b, err := hex.DecodeString(*s)
		mustDo(t, err)
		return b
	}
	if len(file.Operations) == 0 {
		t.Fatal("the file has no operations")
	}
	for _, c := range file.Operations {
		cfg := StateConfig{Kind: kinds[c.Kind], Type: types[c.Type], TTLMs: c.TTLMs}
		if c.Old != nil {
			mustDo(t, cfg.CheckStored(bytes(c.Old)))
		}
		mustDo(t, cfg.CheckOperand(ops[c.Op], bytes(c.Operand)))
		got, kept, err := cfg.Combine(nil, ops[c.Op], bytes(c.Old), c.Old != nil, bytes(c.Operand), c.NowMs)
		if err != nil || kept != (c.Want != nil) || kept && string(got) != string(bytes(c.Want)) {
			t.Errorf("%s: %x, %v, %v", c.Name, got, kept, err)
		}
	}
}
