package values

import (
	"bytes"
	"encoding/hex"
	"testing"
)

func TestGolden_EncodeAndDecode(t *testing.T) {
	for _, c := range []struct{ typ, text, raw string }{
		{String, "é", "c3a9"},
		{Int64, "1", "0100000000000000"},
		{Int64, "-2", "feffffffffffffff"},
		{Float64, "1.5", "000000000000f83f"},
		{Bool, "true", "01"},
		{Bool, "false", "00"},
		{JSON, `{"a":1}`, "7b2261223a317d"},
		{Bytes, "00ff", "00ff"},
	} {
		t.Run(c.typ+"_"+c.text, func(t *testing.T) {
			raw, err := Encode(c.typ, c.text)
			if err != nil || hex.EncodeToString(raw) != c.raw {
				t.Fatalf("Encode = %x, %v; want %s", raw, err, c.raw)
			}
			want, _ := hex.DecodeString(c.raw)
			v, err := Decode(c.typ, want)
			if err != nil || Text(v) != c.text {
				t.Fatalf("Decode = %v, %v; want %s", v, err, c.text)
			}
			if !bytes.Equal(raw, want) {
				t.Fatalf("bytes %x, want %x", raw, want)
			}
		})
	}
}

func TestDecode_ProtoIsHex(t *testing.T) {
	v, err := Decode("proto:shop.v1.Cart", []byte{8, 1})
	if err != nil || v != Hex("0801") {
		t.Fatalf("got %v, %v", v, err)
	}
}

func TestDecode_RefusesWhatDoesNotFit(t *testing.T) {
	for typ, raw := range map[string][]byte{
		Int64: {1, 2, 3}, Float64: {}, Bool: {2}, JSON: []byte("{"), String: {0xff}, "uuid": {1},
	} {
		if v, err := Decode(typ, raw); err == nil {
			t.Errorf("Decode(%s, %x) = %v, want an error", typ, raw, v)
		}
	}
}

func TestEncode_RefusesWhatDoesNotFit(t *testing.T) {
	for typ, text := range map[string]string{
		Int64: "x", Float64: "x", Bool: "maybe", JSON: "{", Bytes: "0g", "uuid": "1",
	} {
		if raw, err := Encode(typ, text); err == nil {
			t.Errorf("Encode(%s, %q) = %x, want an error", typ, text, raw)
		}
	}
}

func TestText_QuotesWhatIsNotPrintable(t *testing.T) {
	if got := Text("a\x1b[31mb"); got != `"a\x1b[31mb"` {
		t.Fatalf("got %s", got)
	}
}
