package raftstore

import (
	"bytes"
	"errors"
	"testing"
)

func TestEnvelope_RoundTrip(t *testing.T) {
	for _, size := range []int{0, 1, 1000, MaxPayload} {
		payload := bytes.Repeat([]byte{7}, size)
		data, err := encodeEnvelope(42, payload)
		if err != nil {
			t.Fatal(err)
		}
		cmdType, got, err := decodeEnvelope(data)
		if err != nil || cmdType != 42 || !bytes.Equal(got, payload) {
			t.Fatalf("size %d: type %d, %d bytes, %v", size, cmdType, len(got), err)
		}
	}
}

// The bytes are in the log of every release.
func TestEnvelope_Golden(t *testing.T) {
	data, err := encodeEnvelope(0x01020304, []byte("hold"))
	if err != nil {
		t.Fatal(err)
	}
	want := []byte{1, 1, 2, 3, 4, 0x17, 0x01, 0x65, 0xc2, 'h', 'o', 'l', 'd'}
	if !bytes.Equal(data, want) {
		t.Fatalf("envelope % x, want % x", data, want)
	}
}

func TestEnvelope_Refused(t *testing.T) {
	if _, err := encodeEnvelope(0, nil); !errors.Is(err, ErrInvalidCommand) || Outcome(err) != NotApplied {
		t.Errorf("type 0: %v", err)
	}
	if _, err := encodeEnvelope(1, make([]byte, MaxPayload+1)); !errors.Is(err, ErrCommandTooLarge) || Outcome(err) != NotApplied {
		t.Errorf("too large: %v", err)
	}
	good, err := encodeEnvelope(1, []byte("payload"))
	if err != nil {
		t.Fatal(err)
	}
	for i := range good {
		bad := bytes.Clone(good)
		bad[i] ^= 0x10
		if _, _, err := decodeEnvelope(bad); !errors.Is(err, ErrBadCommand) {
			t.Errorf("byte %d flipped: %v", i, err)
		}
		if _, _, err := decodeEnvelope(good[:i]); !errors.Is(err, ErrBadCommand) {
			t.Errorf("cut to %d: %v", i, err)
		}
	}
}

func FuzzEnvelope(f *testing.F) {
	seed, _ := encodeEnvelope(7, []byte("seed"))
	f.Add(seed)
	f.Add([]byte{})
	f.Add(seed[:envelopeHeader])
	f.Fuzz(func(t *testing.T, data []byte) {
		cmdType, payload, err := decodeEnvelope(data)
		if err != nil {
			if !errors.Is(err, ErrBadCommand) {
				t.Fatalf("error %v", err)
			}
			return
		}
		again, err := encodeEnvelope(cmdType, payload)
		if err != nil || !bytes.Equal(again, data) {
			t.Fatalf("% x decodes, but encodes to % x (%v)", data, again, err)
		}
	})
}
