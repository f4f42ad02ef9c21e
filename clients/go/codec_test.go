package holdfast

import (
	"bytes"
	"encoding/hex"
	"reflect"
	"testing"

	"pgregory.net/rapid"

	holdfastv1 "github.com/holdfast-io/holdfast/proto/holdfast/v1"
)

type count int32

type visit struct {
	Page string
	At   []int
}

// golden checks the bytes of docs/protocol.md 5.9 and the way back.
func golden[T any](t *testing.T, name string, v T, want string) {
	t.Helper()
	c, err := newCodec[T]()
	if err != nil {
		t.Fatalf("%T: %v", v, err)
	}
	b, err := c.encode([]byte("x"), v)
	if err != nil || hex.EncodeToString(b[1:]) != want || b[0] != 'x' || c.name != name {
		t.Errorf("%s %v: %x, %v, want %s", c.name, v, b, err, want)
	}
	back, err := c.decode(b[1:])
	if err != nil || !reflect.DeepEqual(back, v) {
		t.Errorf("%s %v came back as %v, %v", c.name, v, back, err)
	}
}

func TestCodec_Golden(t *testing.T) {
	golden(t, "bytes", []byte{0, 255}, "00ff")
	golden(t, "string", "é", "c3a9")
	golden(t, "int64", int64(1), "0100000000000000")
	golden(t, "int64", int64(-2), "feffffffffffffff")
	golden(t, "int64", 7, "0700000000000000")
	golden(t, "int64", count(-2), "feffffffffffffff")
	golden(t, "int64", uint8(255), "ff00000000000000")
	golden(t, "float64", 1.5, "000000000000f83f")
	golden(t, "float64", float32(1.5), "000000000000f83f")
	golden(t, "bool", true, "01")
	golden(t, "bool", false, "00")
	golden(t, "json", visit{"p", []int{1}}, hex.EncodeToString([]byte(`{"Page":"p","At":[1]}`)))
}

func TestCodec_Proto(t *testing.T) {
	c, err := newCodec[*holdfastv1.Position]()
	if err != nil || c.name != "proto:holdfast.v1.Position" || !c.mutable {
		t.Fatalf("codec %q, %v", c.name, err)
	}
	b, err := c.encode(nil, &holdfastv1.Position{Topic: "t", NextOffset: 3})
	if err != nil {
		t.Fatal(err)
	}
	back, err := c.decode(b)
	if err != nil || back.GetTopic() != "t" || back.GetNextOffset() != 3 {
		t.Fatalf("came back as %v, %v", back, err)
	}
}

func TestCodec_RefusesWhatItCannotKeep(t *testing.T) {
	for name, err := range map[string]error{
		"chan": second(newCodec[chan int]()), "func": second(newCodec[func()]()),
		"uint64": second(newCodec[uint64]()), "any": second(newCodec[any]()),
	} {
		if err == nil {
			t.Errorf("%s has a codec", name)
		}
	}
}

func second[T any](_ T, err error) error { return err }

func TestCodec_DecodersTakeAnyBytes(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		b := rapid.SliceOf(rapid.Byte()).Draw(t, "bytes")
		p, _ := protoCodec[*holdfastv1.Position]()
		// Anything but a panic.
		_ = []error{
			second(int64Codec.decode(b)), second(float64Codec.decode(b)), second(boolCodec.decode(b)),
			second(jsonCodec[visit]().decode(b)), second(reflectedInt[count]().decode(b)), second(p.decode(b)),
		}
	})
}

func TestCodec_AStoredNumberThatDoesNotFit(t *testing.T) {
	c, _ := newCodec[uint8]()
	if _, err := c.decode(appendInt64(nil, 256)); err == nil {
		t.Error("256 fits into uint8")
	}
	if _, err := c.decode(appendInt64(nil, -1)); err == nil {
		t.Error("-1 fits into uint8")
	}
}

type userID string

func TestKeyEncoder_SameTableAsValues(t *testing.T) {
	for _, c := range []struct {
		got  []byte
		want string
	}{
		{keyEncoder[string]()(nil, "é"), "c3a9"},
		{keyEncoder[userID]()(nil, "é"), "c3a9"},
		{keyEncoder[[]byte]()(nil, []byte{1, 2}), "0102"},
		{keyEncoder[int64]()(nil, -2), "feffffffffffffff"},
		{keyEncoder[int]()(nil, 1), "0100000000000000"},
		{keyEncoder[int32]()(nil, 1), "0100000000000000"},
		{keyEncoder[count]()(nil, 1), "0100000000000000"},
		{keyEncoder[uint32]()(nil, 1), "0100000000000000"},
		{keyEncoder[bool]()(nil, true), "01"},
		{keyEncoder[float64]()(nil, 1.5), "000000000000f83f"},
	} {
		if hex.EncodeToString(c.got) != c.want {
			t.Errorf("%x, want %s", c.got, c.want)
		}
	}
}

func TestKeyEncoder_MakesNoGarbage(t *testing.T) {
	scratch := make([]byte, 0, 64)
	byText, byNumber := keyEncoder[string](), keyEncoder[int64]()
	n := testing.AllocsPerRun(100, func() {
		scratch = byText(scratch[:0], "some key")
		scratch = byNumber(scratch[:0], 12345)
	})
	if n != 0 {
		t.Errorf("%v allocations a key", n)
	}
	if !bytes.Equal(scratch, appendInt64(nil, 12345)) {
		t.Errorf("the key is %x", scratch)
	}
}
