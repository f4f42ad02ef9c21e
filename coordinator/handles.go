package coordinator

import (
	"bytes"
	"fmt"
	"slices"
	"strconv"
	"strings"

	holdfastv1 "github.com/holdfast-io/holdfast/proto/holdfast/v1"
)

// Bounds of what one subtask names in one checkpoint.
const (
	MaxHandles = 4096
	// MaxInlineBytes bounds the bytes that its handles have inline, as Flink's
	// jobmanager storage does.
	MaxInlineBytes = 5 << 20
	// maxJobInline bounds the bytes that all checkpoints of a job have inline, so that
	// its record fits a snapshot of the log; maxCheckpointInline those of one.
	maxJobInline        = 768 << 20
	maxCheckpointInline = 64 << 20

	maxHandleName = 256
	maxFileName   = 768
	hashBytes     = 32
)

// SharedDir has the files that several checkpoints of a job may name.
const SharedDir = "shared/"

// CheckpointDir has the files of one checkpoint alone.
func CheckpointDir(id uint64) string { return fmt.Sprintf("chk-%d/", id) }

// FilePrefix begins the last element of the name of each file that an attempt
// writes for a checkpoint, 0 being the end of a subtask. With it no two attempts
// write one file, and whoever lists a directory knows what a file was for. The
// subtask is in it because one Assign gives several subtasks one token.
func FilePrefix(token, checkpoint, subtask uint64) string {
	return fmt.Sprintf("%d-%d-%d-", token, checkpoint, subtask)
}

// parseFile reads what FilePrefix put into a name.
func parseFile(name string) (token, checkpoint, subtask uint64, ok bool) {
	parts := strings.SplitN(name[strings.LastIndexByte(name, '/')+1:], "-", 4)
	if len(parts) < 4 {
		return 0, 0, 0, false
	}
	var n [3]uint64
	for i := range n {
		var err error
		if n[i], err = strconv.ParseUint(parts[i], 10, 64); err != nil {
			return 0, 0, 0, false
		}
	}
	return n[0], n[1], n[2], true
}

// checkHandles judges the handles of a subtask: files that are new carry the token,
// the checkpoint and the subtask in their names, and files that are shared are named
// by base too, the ack of the same subtask in a checkpoint that is retained
// (invariant 12).
func checkHandles(ref subtaskRef, checkpoint uint64, handles, base []*holdfastv1.StateHandle) *holdfastv1.Error {
	if e := checkSize(ref, handles); e != nil {
		return e
	}
	for i, h := range handles {
		why := ""
		switch {
		case len(h.Name) > maxHandleName || len(h.Format) > maxHandleName:
			why = fmt.Sprintf("its name or format has more than %d bytes", maxHandleName)
		case h.File == "" && (h.Shared || h.Size != uint64(len(h.Inline))):
			why = fmt.Sprintf("%d of %d bytes are inline", len(h.Inline), h.Size)
		case h.File == "":
		case len(h.Inline) > 0 || len(h.Sha256) != hashBytes:
			why = "a file has a SHA-256 and nothing inline"
		case h.Shared && !namedBy(base, h):
			why = "the base does not name this file, with this size and hash"
		case !h.Shared:
			why = checkNewFile(h.File, checkpoint, FilePrefix(ref.st.FencingToken, checkpoint, ref.st.Id))
		}
		if why != "" {
			return Failure(holdfastv1.ErrorReason_ERROR_REASON_INVALID_REQUEST, fmt.Sprintf("handle %d, %s: %s", i, quote(h.File), why), "field", "handles")
		}
	}
	return nil
}

func checkSize(ref subtaskRef, handles []*holdfastv1.StateHandle) *holdfastv1.Error {
	inline := inlineBytes(handles)
	where := fmt.Sprintf("subtask %d of %q", ref.st.Index, ref.vertex.OperatorUid)
	switch {
	case len(handles) > MaxHandles:
		return Failure(holdfastv1.ErrorReason_ERROR_REASON_STATE_TOO_LARGE,
			fmt.Sprintf("the snapshot of %s has %d parts, at most %d are allowed", where, len(handles), MaxHandles), "limit", fmt.Sprint(MaxHandles))
	case inline > MaxInlineBytes:
		return Failure(holdfastv1.ErrorReason_ERROR_REASON_STATE_TOO_LARGE,
			fmt.Sprintf("the snapshot of %s has %d bytes in the log, at most %d are allowed; set a directory (execution.checkpointing.dir) and leave the checkpoint storage jobmanager", where, inline, MaxInlineBytes),
			"bytes", fmt.Sprint(inline), "limit", fmt.Sprint(MaxInlineBytes))
	}
	return nil
}

func inlineBytes(handles []*holdfastv1.StateHandle) (n uint64) {
	for _, h := range handles {
		n += uint64(len(h.Inline))
	}
	return n
}

// standingInline is what counts whether a checkpoint is pending or not: the ends of
// subtasks, and what has come of them in parts.
func standingInline(j jobState) (n uint64) {
	for _, p := range j.AckParts {
		n += inlineBytes(p.Handles)
	}
	forSubtasks(j, func(_ vertexState, st subtaskState) { n += inlineBytes(st.FinishedHandles) })
	return n
}

// inlineTotal is what a job has inline of the pending checkpoint and of what stands in
// every one. It is counted only while one is pending: acks are many then, and ends few.
func inlineTotal(j jobState) uint64 {
	if j.Pending == nil {
		return standingInline(j)
	}
	return j.PendingInlineBytes
}

func countInline(j jobState, handles []*holdfastv1.StateHandle) {
	if j.Pending != nil {
		j.PendingInlineBytes += inlineBytes(handles)
	}
}

// checkTotal refuses handles that would make the record of their job too large.
func checkTotal(j jobState, handles []*holdfastv1.StateHandle) *holdfastv1.Error {
	limit := uint64(min(maxCheckpointInline, maxJobInline/(int(j.Spec.Checkpoint.NumRetained)+MaxSavepoints+1)))
	total := inlineTotal(j) + inlineBytes(handles)
	if total <= limit {
		return nil
	}
	return Failure(holdfastv1.ErrorReason_ERROR_REASON_STATE_TOO_LARGE,
		fmt.Sprintf("the snapshots of all subtasks have %d bytes in the log, at most %d are allowed with %d retained checkpoints; set a directory (execution.checkpointing.dir), or a smaller inline threshold, or retain fewer",
			total, limit, j.Spec.Checkpoint.NumRetained), "bytes", fmt.Sprint(total), "limit", fmt.Sprint(limit))
}

// checkNewFile tells what is wrong with the name of a file that an attempt wrote.
func checkNewFile(name string, checkpoint uint64, prefix string) string {
	last, ok := strings.CutPrefix(name, SharedDir)
	if !ok && checkpoint != 0 {
		last, ok = strings.CutPrefix(name, CheckpointDir(checkpoint))
	}
	switch rest, named := strings.CutPrefix(last, prefix); {
	case !ok:
		return "a new file is in " + SharedDir + " or in the directory of its checkpoint"
	case !named || rest == "":
		return "a new file's name begins with " + prefix
	case len(name) > maxFileName || strings.ContainsFunc(rest, notInNames):
		return "its name has a character that files may not have, or is too long"
	}
	return ""
}

func notInNames(c rune) bool {
	return (c < 'a' || c > 'z') && (c < 'A' || c > 'Z') && (c < '0' || c > '9') && !strings.ContainsRune("._=@+-", c)
}

func sameFile(a, b *holdfastv1.StateHandle) bool {
	return a.File == b.File && a.Size == b.Size && bytes.Equal(a.Sha256, b.Sha256) && strings.HasPrefix(a.File, SharedDir)
}

// joinHandles adds handles behind those that came before, which stay as they are. A
// large inline handle goes on in the first one of the next part.
func joinHandles(have, more []*holdfastv1.StateHandle) []*holdfastv1.StateHandle {
	if len(have) == 0 || len(more) == 0 {
		return append(slices.Clip(have), more...)
	}
	last, next := have[len(have)-1], more[0]
	if last.File != "" || next.File != "" || last.Name != next.Name || uint64(len(last.Inline)) >= last.Size {
		return append(slices.Clip(have), more...)
	}
	joined := &holdfastv1.StateHandle{
		Name: last.Name, Format: last.Format, Size: last.Size, Sha256: last.Sha256, Shared: last.Shared,
		// The handle before goes on to see its own bytes only.
		Inline: append(last.Inline, next.Inline...),
	}
	return append(append(slices.Clip(have[:len(have)-1]), joined), more[1:]...)
}
