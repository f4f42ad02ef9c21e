// Package values turns keys and values of keyed state into text and back, by
// the table of types in docs/protocol.md (5.9).
package values

import (
	"encoding/binary"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"math"
	"strconv"
	"strings"
	"unicode"
	"unicode/utf8"
)

// The declared types. "proto:<full name>" is shown as Bytes: the command line
// does not know the message.
const (
	Bytes   = "bytes"
	String  = "string"
	Int64   = "int64"
	Float64 = "float64"
	Bool    = "bool"
	JSON    = "json"
)

const protoPrefix = "proto:"

// Known reports whether the type can be given with --key-type.
func Known(typ string) bool {
	switch typ {
	case Bytes, String, Int64, Float64, Bool, JSON:
		return true
	}
	return false
}

// Encode reads text as typ. Bytes are hexadecimal digits.
func Encode(typ, text string) ([]byte, error) {
	switch typ {
	case Bytes:
		b, err := hex.DecodeString(strings.TrimPrefix(text, "0x"))
		if err != nil {
			return nil, fmt.Errorf("%q is not hexadecimal: %w", text, err)
		}
		return b, nil
	case String:
		return []byte(text), nil
	case Int64:
		n, err := strconv.ParseInt(text, 10, 64)
		if err != nil {
			return nil, fmt.Errorf("%q is no int64", text)
		}
		return binary.LittleEndian.AppendUint64(nil, uint64(n)), nil
	case Float64:
		f, err := strconv.ParseFloat(text, 64)
		if err != nil {
			return nil, fmt.Errorf("%q is no float64", text)
		}
		return binary.LittleEndian.AppendUint64(nil, math.Float64bits(f)), nil
	case Bool:
		return encodeBool(text)
	case JSON:
		if !json.Valid([]byte(text)) {
			return nil, fmt.Errorf("%q is no JSON", text)
		}
		return []byte(text), nil
	}
	return nil, fmt.Errorf("unknown type %q", typ)
}

func encodeBool(text string) ([]byte, error) {
	b, err := strconv.ParseBool(text)
	if err != nil {
		return nil, fmt.Errorf("%q is neither true nor false", text)
	}
	if b {
		return []byte{1}, nil
	}
	return []byte{0}, nil
}

// Decode gives what raw means as typ: string, int64, float64, bool,
// json.RawMessage, or Hex for bytes and messages. Bytes that do not fit the
// type are an error.
func Decode(typ string, raw []byte) (any, error) {
	switch typ {
	case String:
		if !utf8.Valid(raw) {
			return nil, misfit(typ, raw)
		}
		return string(raw), nil
	case Int64, Float64:
		if len(raw) != 8 {
			return nil, misfit(typ, raw)
		}
		bits := binary.LittleEndian.Uint64(raw)
		if typ == Int64 {
			return int64(bits), nil
		}
		return math.Float64frombits(bits), nil
	case Bool:
		if len(raw) != 1 || raw[0] > 1 {
			return nil, misfit(typ, raw)
		}
		return raw[0] == 1, nil
	case JSON:
		if !json.Valid(raw) {
			return nil, misfit(typ, raw)
		}
		return json.RawMessage(raw), nil
	case Bytes:
		return Hex(hex.EncodeToString(raw)), nil
	}
	if strings.HasPrefix(typ, protoPrefix) {
		return Hex(hex.EncodeToString(raw)), nil
	}
	return nil, fmt.Errorf("unknown type %q", typ)
}

func misfit(typ string, raw []byte) error {
	return fmt.Errorf("%d bytes are no %s: %s", len(raw), typ, hex.EncodeToString(raw))
}

// Hex is bytes as hexadecimal digits.
type Hex string

// Text prints a decoded value in a table cell: text as it is where it is
// printable, else quoted.
func Text(v any) string {
	switch v := v.(type) {
	case string:
		if Printable(v) {
			return v
		}
		return strconv.Quote(v)
	case float64:
		return strconv.FormatFloat(v, 'g', -1, 64)
	case json.RawMessage:
		return string(v)
	default:
		return fmt.Sprint(v)
	}
}

// Printable reports whether text stands in a table without harm.
func Printable(s string) bool {
	for _, r := range s {
		if !unicode.IsPrint(r) {
			return false
		}
	}
	return utf8.ValidString(s)
}
