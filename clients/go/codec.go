package holdfast

import (
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"reflect"

	"google.golang.org/protobuf/proto"
)

// codec turns values of T into the bytes of docs/protocol.md 5.9 and back.
// decode gets bytes that it must not keep; a value of a mutable type is decoded
// anew each time, so that a caller who changes it does not change the state.
type codec[T any] struct {
	// name is the type in the state's descriptor.
	name string
	// mutable: a T may share memory with another one.
	mutable bool
	encode  func(dst []byte, v T) ([]byte, error)
	decode  func(b []byte) (T, error)
}

var errSize = errors.New("the stored bytes do not have the size of the type")

// newCodec finds the codec of T. What is no scalar and no proto message is JSON.
func newCodec[T any]() (codec[T], error) {
	var zero T
	switch any(zero).(type) {
	case int64:
		return any(int64Codec).(codec[T]), nil
	case float64:
		return any(float64Codec).(codec[T]), nil
	case string:
		return any(stringCodec).(codec[T]), nil
	case bool:
		return any(boolCodec).(codec[T]), nil
	case []byte:
		return any(bytesCodec).(codec[T]), nil
	case proto.Message:
		return protoCodec[T]()
	}
	t := reflect.TypeFor[T]()
	switch t.Kind() {
	case reflect.Int, reflect.Int8, reflect.Int16, reflect.Int32, reflect.Int64,
		reflect.Uint8, reflect.Uint16, reflect.Uint32:
		return reflectedInt[T](), nil
	case reflect.Float32, reflect.Float64:
		return reflected[T](float64Codec, reflect.TypeFor[float64]()), nil
	case reflect.String:
		return reflected[T](stringCodec, reflect.TypeFor[string]()), nil
	case reflect.Bool:
		return reflected[T](boolCodec, reflect.TypeFor[bool]()), nil
	case reflect.Uint, reflect.Uint64, reflect.Uintptr, reflect.Complex64, reflect.Complex128,
		reflect.Chan, reflect.Func, reflect.UnsafePointer, reflect.Interface:
		return codec[T]{}, fmt.Errorf("values of type %s cannot be kept as state", t)
	}
	return jsonCodec[T](), nil
}

var int64Codec = codec[int64]{
	name:   "int64",
	encode: func(dst []byte, v int64) ([]byte, error) { return appendInt64(dst, v), nil },
	decode: func(b []byte) (int64, error) {
		if len(b) != 8 {
			return 0, fmt.Errorf("%w int64: %d", errSize, len(b))
		}
		return int64(binary.LittleEndian.Uint64(b)), nil
	},
}

var float64Codec = codec[float64]{
	name: "float64",
	encode: func(dst []byte, v float64) ([]byte, error) {
		return binary.LittleEndian.AppendUint64(dst, math.Float64bits(v)), nil
	},
	decode: func(b []byte) (float64, error) {
		if len(b) != 8 {
			return 0, fmt.Errorf("%w float64: %d", errSize, len(b))
		}
		return math.Float64frombits(binary.LittleEndian.Uint64(b)), nil
	},
}

var stringCodec = codec[string]{
	name:   "string",
	encode: func(dst []byte, v string) ([]byte, error) { return append(dst, v...), nil },
	decode: func(b []byte) (string, error) { return string(b), nil },
}

var boolCodec = codec[bool]{
	name:   "bool",
	encode: func(dst []byte, v bool) ([]byte, error) { return appendBool(dst, v), nil },
	decode: func(b []byte) (bool, error) {
		if len(b) != 1 || b[0] > 1 {
			return false, fmt.Errorf("%w bool: %d", errSize, len(b))
		}
		return b[0] == 1, nil
	},
}

var bytesCodec = codec[[]byte]{
	name:    "bytes",
	mutable: true,
	encode:  func(dst []byte, v []byte) ([]byte, error) { return append(dst, v...), nil },
	decode:  func(b []byte) ([]byte, error) { return append([]byte{}, b...), nil },
}

func appendInt64(dst []byte, v int64) []byte {
	return binary.LittleEndian.AppendUint64(dst, uint64(v))
}

func appendBool(dst []byte, v bool) []byte {
	if v {
		return append(dst, 1)
	}
	return append(dst, 0)
}

// reflectedInt is int64 for the other integer types that fit into it.
func reflectedInt[T any]() codec[T] {
	return codec[T]{
		name: int64Codec.name,
		encode: func(dst []byte, v T) ([]byte, error) {
			r := reflect.ValueOf(v)
			if r.CanInt() {
				return appendInt64(dst, r.Int()), nil
			}
			return appendInt64(dst, int64(r.Uint())), nil
		},
		decode: func(b []byte) (v T, err error) {
			n, err := int64Codec.decode(b)
			if err != nil {
				return v, err
			}
			r := reflect.ValueOf(&v).Elem()
			if r.CanInt() && !r.OverflowInt(n) {
				r.SetInt(n)
				return v, nil
			}
			if r.CanUint() && n >= 0 && !r.OverflowUint(uint64(n)) {
				r.SetUint(uint64(n))
				return v, nil
			}
			return v, fmt.Errorf("the stored %d does not fit into %s", n, r.Type())
		},
	}
}

// reflected is the codec of a named type by the codec of its kind.
func reflected[T, B any](base codec[B], as reflect.Type) codec[T] {
	to := reflect.TypeFor[T]()
	return codec[T]{
		name: base.name,
		encode: func(dst []byte, v T) ([]byte, error) {
			return base.encode(dst, reflect.ValueOf(v).Convert(as).Interface().(B))
		},
		decode: func(b []byte) (v T, err error) {
			d, err := base.decode(b)
			if err != nil {
				return v, err
			}
			return reflect.ValueOf(d).Convert(to).Interface().(T), nil
		},
	}
}

func jsonCodec[T any]() codec[T] {
	return codec[T]{
		name:    "json",
		mutable: true,
		encode: func(dst []byte, v T) ([]byte, error) {
			b, err := json.Marshal(v)
			return append(dst, b...), err
		},
		decode: func(b []byte) (v T, err error) {
			err = json.Unmarshal(b, &v)
			return v, err
		},
	}
}

func protoCodec[T any]() (codec[T], error) {
	t := reflect.TypeFor[T]()
	if t.Kind() != reflect.Pointer {
		return codec[T]{}, fmt.Errorf("values of type %s cannot be kept as state: a proto message is kept by its pointer", t)
	}
	fresh := func() proto.Message { return reflect.New(t.Elem()).Interface().(proto.Message) }
	return codec[T]{
		name:    "proto:" + string(fresh().ProtoReflect().Descriptor().FullName()),
		mutable: true,
		encode: func(dst []byte, v T) ([]byte, error) {
			return proto.MarshalOptions{Deterministic: true}.MarshalAppend(dst, any(v).(proto.Message))
		},
		decode: func(b []byte) (v T, err error) {
			m := fresh()
			err = proto.Unmarshal(b, m)
			return m.(T), err
		},
	}, nil
}
