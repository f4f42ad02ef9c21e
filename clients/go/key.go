package holdfast

import (
	"encoding/binary"
	"math"
	"reflect"
)

// Key is what a stream can be keyed by. A float64 is compared by its bits.
type Key interface {
	~string | ~[]byte | ~bool | ~float64 |
		~int | ~int8 | ~int16 | ~int32 | ~int64 | ~uint8 | ~uint16 | ~uint32
}

// keyEncoder is the encoding of docs/protocol.md 5.9, without an allocation for
// the types that most programs use.
func keyEncoder[K Key]() func(dst []byte, key K) []byte {
	var f any
	switch any(*new(K)).(type) {
	case string:
		f = func(dst []byte, k string) []byte { return append(dst, k...) }
	case []byte:
		f = func(dst []byte, k []byte) []byte { return append(dst, k...) }
	case int64:
		f = appendInt64
	case int:
		f = func(dst []byte, k int) []byte { return appendInt64(dst, int64(k)) }
	case int32:
		f = func(dst []byte, k int32) []byte { return appendInt64(dst, int64(k)) }
	case bool:
		f = appendBool
	case float64:
		f = func(dst []byte, k float64) []byte {
			return binary.LittleEndian.AppendUint64(dst, math.Float64bits(k))
		}
	default:
		return appendReflected[K]
	}
	return f.(func([]byte, K) []byte)
}

func appendReflected[K Key](dst []byte, key K) []byte {
	r := reflect.ValueOf(key)
	switch {
	case r.Kind() == reflect.String:
		return append(dst, r.String()...)
	case r.Kind() == reflect.Bool:
		return appendBool(dst, r.Bool())
	case r.CanInt():
		return appendInt64(dst, r.Int())
	case r.CanUint():
		return appendInt64(dst, int64(r.Uint()))
	case r.CanFloat():
		return binary.LittleEndian.AppendUint64(dst, math.Float64bits(r.Float()))
	}
	return append(dst, r.Bytes()...)
}
