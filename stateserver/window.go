package stateserver

// window counts the frames with a seq that a client may think are in flight: those
// beyond the seq of the last FlushAck. An answer to one frame can acknowledge many
// (a frame that went twice is answered with the last seq that was applied), so the
// window moves with what the client is told, not with the number of answers.
type window struct {
	acked uint64 // the seq through which the client was told, or with which it began
	sizes []int  // of the frames behind it, in the order of their seqs
	bytes int
}

// count is the number of frames in flight.
func (w *window) count() int { return len(w.sizes) }

// add takes the next frame.
func (w *window) add(size int) {
	w.sizes = append(w.sizes, size)
	w.bytes += size
}

// ackThrough lets go of every frame through a seq.
func (w *window) ackThrough(seq uint64) {
	for w.acked < seq && len(w.sizes) > 0 {
		w.bytes -= w.sizes[0]
		w.sizes = w.sizes[1:]
		w.acked++
	}
}
