package holdfast

import (
	"errors"
	"fmt"
	"strings"

	holdfastv1 "github.com/holdfast-io/holdfast/proto/holdfast/v1"
)

// ExternalizedCheckpointRetention says what becomes of the completed checkpoints of
// a job that ends early.
type ExternalizedCheckpointRetention int

// The retentions of SetExternalizedCheckpointRetention. Those that keep checkpoints
// need a directory for them.
const (
	// NoExternalizedCheckpoints deletes them; the default.
	NoExternalizedCheckpoints ExternalizedCheckpointRetention = iota
	// DeleteOnCancellation keeps them if the job fails.
	DeleteOnCancellation
	// RetainOnCancellation keeps them if it fails or is cancelled.
	RetainOnCancellation
)

// JobManagerCheckpointStorage keeps checkpoints in the log, which is for small
// state: see SetCheckpointStorage.
const JobManagerCheckpointStorage = "jobmanager"

// SetCheckpointStorage says where checkpoints go, as file://, s3:// or hdfs:// with a
// path that every node can reach and allows (storage.allowed-roots), or
// JobManagerCheckpointStorage. Without it they are kept in the log too.
func (e *StreamExecutionEnvironment) SetCheckpointStorage(url string) {
	if strings.EqualFold(url, JobManagerCheckpointStorage) {
		e.checkpoint.Storage, e.checkpoint.Directory = holdfastv1.CheckpointStorage_CHECKPOINT_STORAGE_JOBMANAGER, ""
		return
	}
	if url == "" {
		e.problem(errors.New("SetCheckpointStorage needs a directory, as file:///path, s3://bucket/path or hdfs://host:port/path, or JobManagerCheckpointStorage"))
		return
	}
	e.checkpoint.Storage, e.checkpoint.Directory = holdfastv1.CheckpointStorage_CHECKPOINT_STORAGE_FILESYSTEM, url
}

// SetDefaultSavepointDirectory says where savepoints go that name no directory.
func (e *StreamExecutionEnvironment) SetDefaultSavepointDirectory(url string) {
	e.checkpoint.SavepointDirectory = url
}

// SetExternalizedCheckpointRetention says what becomes of the completed checkpoints
// of the job if it is cancelled or fails.
func (e *StreamExecutionEnvironment) SetExternalizedCheckpointRetention(r ExternalizedCheckpointRetention) {
	switch r {
	case NoExternalizedCheckpoints:
		e.checkpoint.Retention = holdfastv1.CheckpointRetention_CHECKPOINT_RETENTION_NO_EXTERNALIZED_CHECKPOINTS
	case DeleteOnCancellation:
		e.checkpoint.Retention = holdfastv1.CheckpointRetention_CHECKPOINT_RETENTION_DELETE_ON_CANCELLATION
	case RetainOnCancellation:
		e.checkpoint.Retention = holdfastv1.CheckpointRetention_CHECKPOINT_RETENTION_RETAIN_ON_CANCELLATION
	default:
		e.problem(fmt.Errorf("the retention of checkpoints is NoExternalizedCheckpoints, DeleteOnCancellation or RetainOnCancellation, not %d", r))
	}
}

// EnableIncrementalCheckpoints writes what changed since the checkpoint before, where
// the state backend can tell.
func (e *StreamExecutionEnvironment) EnableIncrementalCheckpoints(on bool) {
	e.checkpoint.Incremental = on
}

// SetDataInlineThreshold sets up to which size the state of a subtask is kept in the
// log with its checkpoint, and not in a file; 20 KiB by default.
func (e *StreamExecutionEnvironment) SetDataInlineThreshold(bytes int) {
	if bytes < 1 {
		e.problem(fmt.Errorf("the inline threshold must be at least 1 byte, and is %d", bytes))
		return
	}
	e.checkpoint.InlineThreshold = uint64(bytes)
}
