package holdfast

import (
	"bytes"
	"testing"

	holdfastv1 "github.com/holdfast-io/holdfast/proto/holdfast/v1"
)

// decodes gives stored bytes to a codec. What it reads it can write, and what
// it wrote it reads the same; exact codecs write the bytes that they read.
func decodes[T any](t *testing.T, data []byte, exact bool) {
	t.Helper()
	c, err := newCodec[T]()
	if err != nil {
		t.Fatal(err)
	}
	v, err := c.decode(data)
	if err != nil {
		return
	}
	first, err := c.encode(nil, v)
	if err != nil {
		t.Fatalf("%s reads %x as %v and cannot write it: %v", c.name, data, v, err)
	}
	if exact && !bytes.Equal(first, data) {
		t.Fatalf("%s reads %x and writes %x", c.name, data, first)
	}
	again, err := c.decode(first)
	if err != nil {
		t.Fatalf("%s cannot read what it wrote, %x: %v", c.name, first, err)
	}
	second, err := c.encode(nil, again)
	if err != nil || !bytes.Equal(first, second) {
		t.Fatalf("%s writes %x and then %x, %v", c.name, first, second, err)
	}
}

// FuzzCodec reads any stored bytes as every kind of value.
func FuzzCodec(f *testing.F) {
	for _, b := range []string{"", "\x01", "\x02", "\x01\x00\x00\x00\x00\x00\x00\x00", "\xff\xff\xff\xff\xff\xff\xff\x7f",
		"\x00\x00\x00\x00\x00\x00\xf8\x7f", `{"Page":"p","At":[1]}`, `{"page":"\ud800"}`, "\x0a\x01t\x18\x03"} {
		f.Add([]byte(b))
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		decodes[int64](t, data, true)
		decodes[int](t, data, true)
		decodes[count](t, data, true)
		decodes[uint8](t, data, true)
		decodes[uint32](t, data, true)
		decodes[float64](t, data, true)
		decodes[float32](t, data, false)
		decodes[string](t, data, true)
		decodes[bool](t, data, true)
		decodes[[]byte](t, data, true)
		decodes[visit](t, data, false)
		decodes[map[string]visit](t, data, false)
		decodes[*holdfastv1.Position](t, data, false)
	})
}
