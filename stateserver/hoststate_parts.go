package stateserver

import (
	"google.golang.org/protobuf/proto"

	holdfastv1 "github.com/holdfast-io/holdfast/proto/holdfast/v1"
	"github.com/holdfast-io/holdfast/raftstore"
)

// partBytes is what the handles of one command may take; positions and the rest of
// an ack have room beside them.
const partBytes = raftstore.MaxPayload / 2

// handleOverheadBytes is more than the tag and length of a handle in its list take.
const handleOverheadBytes = 8

// splitHandles deals handles out to as many commands as they need, at least one. What
// is inline and does not fit goes on in the next one.
func splitHandles(handles []*holdfastv1.StateHandle) [][]*holdfastv1.StateHandle {
	parts := [][]*holdfastv1.StateHandle{nil}
	room := partBytes
	turn := func() {
		parts = append(parts, nil)
		room = partBytes
	}
	add := func(h *holdfastv1.StateHandle) {
		parts[len(parts)-1] = append(parts[len(parts)-1], h)
		room -= proto.Size(h) + handleOverheadBytes
	}
	for _, h := range handles {
		bare := &holdfastv1.StateHandle{File: h.File, Size: h.Size, Sha256: h.Sha256, Format: h.Format, Name: h.Name, Shared: h.Shared}
		if proto.Size(bare)+2*handleOverheadBytes > room {
			turn()
		}
		inline := h.Inline
		for {
			piece := proto.CloneOf(bare)
			n := min(len(inline), max(room-proto.Size(bare)-2*handleOverheadBytes, 0))
			piece.Inline, inline = inline[:n], inline[n:]
			add(piece)
			if len(inline) == 0 {
				break
			}
			turn()
		}
	}
	return parts
}
