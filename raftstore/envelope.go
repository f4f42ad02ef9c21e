package raftstore

import (
	"encoding/binary"
	"fmt"
	"hash/crc32"
)

// MaxPayload bounds the payload of one command, in bytes. Larger values delay
// heartbeats behind one write; they go in numbered parts or by storage.
const MaxPayload = 256 << 10

// The envelope around a command in the log:
//
//	byte  0     format version, 1
//	bytes 1-4   command type, big endian, not zero
//	bytes 5-8   CRC32C of bytes 0-4 and the payload, big endian
//	bytes 9-    payload
const (
	envelopeVersion = 1
	envelopeHeader  = 9
)

// castagnoli is the CRC32C table, which current processors compute in hardware.
var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// encodeEnvelope returns the log entry of a command. Errors: ErrInvalidCommand,
// ErrCommandTooLarge.
func encodeEnvelope(cmdType uint32, payload []byte) ([]byte, error) {
	if cmdType == 0 {
		return nil, ErrInvalidCommand
	}
	if len(payload) > MaxPayload {
		return nil, fmt.Errorf("%w: type %d has %d bytes, at most %d are allowed", ErrCommandTooLarge, cmdType, len(payload), MaxPayload)
	}
	buf := make([]byte, envelopeHeader+len(payload))
	buf[0] = envelopeVersion
	binary.BigEndian.PutUint32(buf[1:5], cmdType)
	copy(buf[envelopeHeader:], payload)
	binary.BigEndian.PutUint32(buf[5:9], envelopeSum(buf))
	return buf, nil
}

// decodeEnvelope checks an entry and returns its command; payload is a part of
// data. The error is ErrBadCommand.
func decodeEnvelope(data []byte) (cmdType uint32, payload []byte, err error) {
	if len(data) < envelopeHeader {
		return 0, nil, fmt.Errorf("%w: %d bytes are fewer than the header", ErrBadCommand, len(data))
	}
	if data[0] != envelopeVersion {
		return 0, nil, fmt.Errorf("%w: format version %d, this build knows %d", ErrBadCommand, data[0], envelopeVersion)
	}
	if got, want := envelopeSum(data), binary.BigEndian.Uint32(data[5:9]); got != want {
		return 0, nil, fmt.Errorf("%w: checksum is %08x, the entry says %08x", ErrBadCommand, got, want)
	}
	cmdType = binary.BigEndian.Uint32(data[1:5])
	if cmdType == 0 || len(data)-envelopeHeader > MaxPayload {
		return 0, nil, fmt.Errorf("%w: type %d with %d bytes", ErrBadCommand, cmdType, len(data)-envelopeHeader)
	}
	return cmdType, data[envelopeHeader:], nil
}

// envelopeSum skips the four bytes that hold the sum itself.
func envelopeSum(data []byte) uint32 {
	sum := crc32.Update(0, castagnoli, data[:5])
	return crc32.Update(sum, castagnoli, data[envelopeHeader:])
}
