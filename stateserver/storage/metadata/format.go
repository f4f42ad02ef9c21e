package metadata

import (
	"bytes"
	"crypto/sha256"
	"encoding/binary"
	"fmt"

	"google.golang.org/protobuf/proto"

	holdfastv1 "github.com/holdfast-io/holdfast/proto/holdfast/v1"
	"github.com/holdfast-io/holdfast/stateserver/storage"
)

const (
	magic = "HOLDFAST"

	// formatVersion is that of the frame and of what the fields mean.
	formatVersion = 1

	frameSize = len(magic) + 4 + 8 // before the payload

	// MaxSize is the most bytes of a manifest.
	MaxSize = 1 << 30
)

// Encode makes the bytes of a manifest. What Check refuses is not written.
func Encode(m *holdfastv1.CheckpointMetadata) ([]byte, error) {
	if err := Check(m); err != nil {
		return nil, fmt.Errorf("manifest of checkpoint %d: %w", m.GetCheckpointId(), err)
	}
	b := make([]byte, frameSize, frameSize+proto.Size(m)+sha256.Size)
	copy(b, magic)
	binary.LittleEndian.PutUint32(b[len(magic):], formatVersion)
	b, err := proto.MarshalOptions{Deterministic: true}.MarshalAppend(b, m)
	if err != nil {
		return nil, fmt.Errorf("manifest of checkpoint %d: %w", m.GetCheckpointId(), err)
	}
	if len(b)+sha256.Size > MaxSize {
		return nil, fmt.Errorf("manifest of checkpoint %d: %w: it has %d bytes, and at most %d are possible; lower execution.checkpointing.data-inline-threshold",
			m.GetCheckpointId(), storage.ErrTooLarge, len(b), MaxSize)
	}
	binary.LittleEndian.PutUint64(b[len(magic)+4:], uint64(len(b)-frameSize))
	sum := sha256.Sum256(b)
	return append(b, sum[:]...), nil
}

// Decode reads the bytes of a manifest. Errors are of kind storage.ErrCorrupt, but
// for a newer format (ErrNewer).
func Decode(b []byte) (*holdfastv1.CheckpointMetadata, error) {
	corrupt := func(format string, args ...any) (*holdfastv1.CheckpointMetadata, error) {
		return nil, fmt.Errorf("%w: %s", storage.ErrCorrupt, fmt.Sprintf(format, args...))
	}
	if n := min(len(b), len(magic)); string(b[:n]) != magic[:n] {
		return corrupt("it is no manifest: it does not begin with %q", magic)
	}
	if len(b) < frameSize+sha256.Size {
		return corrupt("it is truncated: it has %d bytes, and the shortest manifest has %d", len(b), frameSize+sha256.Size)
	}
	if v := binary.LittleEndian.Uint32(b[len(magic):]); v > formatVersion {
		return nil, fmt.Errorf("%w: it has format version %d, and this release reads up to %d; use the release that wrote it, or a newer one", ErrNewer, v, formatVersion)
	} else if v == 0 {
		return corrupt("it has format version 0")
	}
	payload := uint64(len(b) - frameSize - sha256.Size)
	switch want := binary.LittleEndian.Uint64(b[len(magic)+4:]); {
	case payload < want:
		return corrupt("it is truncated: its payload has %d bytes, and should have %d", payload, want)
	case payload > want:
		return corrupt("it is too long: its payload has %d bytes, and should have %d", payload, want)
	}
	body, sum := b[:len(b)-sha256.Size], b[len(b)-sha256.Size:]
	if want := sha256.Sum256(body); !bytes.Equal(sum, want[:]) {
		return corrupt("its checksum is wrong: bytes of it were changed")
	}
	m := &holdfastv1.CheckpointMetadata{}
	if err := proto.Unmarshal(body[frameSize:], m); err != nil {
		return corrupt("its payload is no metadata: %v", err)
	}
	if err := Check(m); err != nil {
		return corrupt("it contradicts itself: %v", err)
	}
	return m, nil
}
