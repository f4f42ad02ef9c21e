package metadata

import (
	"errors"
	"fmt"
	"slices"
	"strings"

	holdfastv1 "github.com/holdfast-io/holdfast/proto/holdfast/v1"
	"github.com/holdfast-io/holdfast/stateserver/storage"
)

// ErrNewer is a manifest of a format that this release does not know.
var ErrNewer = errors.New("newer format")

// maxKeyGroups is the most that an operator can have.
const maxKeyGroups = 32768

// Check refuses metadata that cannot be of a checkpoint: an unknown kind, an
// operator twice, key groups that are none or belong to two subtasks, a path that
// leads out of the directory or to files of others.
func Check(m *holdfastv1.CheckpointMetadata) error {
	switch m.GetKind() {
	case holdfastv1.SnapshotKind_SNAPSHOT_KIND_CHECKPOINT, holdfastv1.SnapshotKind_SNAPSHOT_KIND_SAVEPOINT:
	default:
		return fmt.Errorf("its kind is %d, neither checkpoint nor savepoint", m.GetKind())
	}
	seen := map[string]bool{}
	for _, o := range m.GetOperators() {
		uid := o.GetOperator().GetUid()
		if uid == "" {
			return errors.New("an operator has no uid")
		}
		if seen[uid] {
			return fmt.Errorf("operator %s is there twice", uid)
		}
		seen[uid] = true
		if err := checkOperator(m, o); err != nil {
			return fmt.Errorf("operator %s: %w", uid, err)
		}
	}
	return nil
}

func checkOperator(m *holdfastv1.CheckpointMetadata, o *holdfastv1.OperatorSnapshot) error {
	groups, parallelism := o.GetOperator().GetMaxParallelism(), o.GetOperator().GetParallelism()
	if groups == 0 || groups > maxKeyGroups {
		return fmt.Errorf("its max parallelism is %d, not between 1 and %d", groups, maxKeyGroups)
	}
	if parallelism == 0 || parallelism > maxKeyGroups {
		// It may be above the key groups: those of a co-partitioned operator are the
		// partitions of its source.
		return fmt.Errorf("its parallelism is %d, not between 1 and %d", parallelism, maxKeyGroups)
	}
	subtasks := slices.SortedFunc(slices.Values(o.GetSubtasks()), func(a, b *holdfastv1.SubtaskSnapshot) int {
		return int(a.GetKeyGroupStart()) - int(b.GetKeyGroupStart())
	})
	index, end := map[uint32]bool{}, uint32(0)
	for _, s := range subtasks {
		if s.GetIndex() >= parallelism || index[s.GetIndex()] {
			return fmt.Errorf("subtask %d is there twice, or is none of %d", s.GetIndex(), parallelism)
		}
		index[s.GetIndex()] = true
		if s.GetKeyGroupStart() > s.GetKeyGroupEnd() || s.GetKeyGroupEnd() > groups {
			return fmt.Errorf("subtask %d has key groups %d to %d (exclusive), which are none of %d", s.GetIndex(), s.GetKeyGroupStart(), s.GetKeyGroupEnd(), groups)
		}
		if s.GetKeyGroupStart() < s.GetKeyGroupEnd() {
			if s.GetKeyGroupStart() < end {
				return fmt.Errorf("key group %d belongs to subtask %d and to another", s.GetKeyGroupStart(), s.GetIndex())
			}
			end = s.GetKeyGroupEnd()
		}
		if err := checkSubtask(m, s); err != nil {
			return fmt.Errorf("subtask %d: %w", s.GetIndex(), err)
		}
	}
	return nil
}

func checkSubtask(m *holdfastv1.CheckpointMetadata, s *holdfastv1.SubtaskSnapshot) error {
	for _, snapshot := range s.GetSnapshots() {
		if snapshot.GetFormat() == "" {
			return errors.New("a snapshot has no format")
		}
	}
	for _, f := range filesOf(s) {
		h, err := storage.HandleOf(f.GetHandle())
		if err != nil {
			return err
		}
		if h.File == nil {
			continue
		}
		if err := checkPlace(m, h.File.Path, f.GetShared()); err != nil {
			return err
		}
	}
	return nil
}

// filesOf are all files of a subtask, that of its operator state last.
func filesOf(s *holdfastv1.SubtaskSnapshot) (files []*holdfastv1.SnapshotFile) {
	for _, snapshot := range s.GetSnapshots() {
		files = append(files, snapshot.GetFiles()...)
	}
	if c := s.GetOperatorState(); c != nil {
		// That of a subtask that has finished stays for later checkpoints.
		shared := strings.HasPrefix(c.GetFile().GetPath(), storage.SharedDir+"/")
		files = append(files, &holdfastv1.SnapshotFile{Handle: c, Shared: shared})
	}
	return files
}

// checkPlace: a file stands where the layout has it, so that it is deleted with
// what it belongs to and with nothing else.
func checkPlace(m *holdfastv1.CheckpointMetadata, file string, shared bool) error {
	if m.GetKind() == holdfastv1.SnapshotKind_SNAPSHOT_KIND_SAVEPOINT {
		switch {
		case shared:
			return fmt.Errorf("the file %s of a savepoint is shared with others", file)
		case file == storage.MetadataName:
			return fmt.Errorf("the manifest %s is named as a file of a state", file)
		}
		return nil
	}
	own := storage.CheckpointDir(m.GetCheckpointId())
	dir, _, _ := strings.Cut(file, "/")
	switch {
	case file == nameIn(own):
		return fmt.Errorf("the manifest %s is named as a file of a state", file)
	case shared && dir != storage.SharedDir:
		return fmt.Errorf("the file %s is shared, but not in %s/", file, storage.SharedDir)
	case !shared && dir != own && dir != storage.TaskOwnedDir:
		return fmt.Errorf("the file %s is the checkpoint's own, but in neither %s/ nor %s/", file, own, storage.TaskOwnedDir)
	}
	return nil
}

// Files yields every file that a manifest names, each once however often it is
// named, with where it is named first.
func Files(m *holdfastv1.CheckpointMetadata) []File {
	var files []File
	seen := map[string]bool{}
	for _, o := range m.GetOperators() {
		for _, s := range o.GetSubtasks() {
			for _, f := range filesOf(s) {
				h, err := storage.HandleOf(f.GetHandle())
				if err != nil || h.File == nil || seen[h.File.Path] {
					continue // Check has refused the error
				}
				seen[h.File.Path] = true
				files = append(files, File{Handle: *h.File, Shared: f.GetShared(), OperatorUID: o.GetOperator().GetUid(), Subtask: s.GetIndex()})
			}
		}
	}
	return files
}

// File is a file of a manifest.
type File struct {
	Handle      storage.FileHandle
	Shared      bool
	OperatorUID string
	Subtask     uint32
}
