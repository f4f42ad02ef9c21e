package holdfast

import (
	"maps"

	holdfastv1 "github.com/holdfast-io/holdfast/proto/holdfast/v1"
)

// FilesystemStateBackend keeps state on the heap of the node that hosts a subtask
// (Flink's HashMapStateBackend). Without checkpoints it is lost with that node.
type FilesystemStateBackend struct{}

func (FilesystemStateBackend) stateBackend() *holdfastv1.StateBackend {
	return &holdfastv1.StateBackend{Name: "filesystem"}
}

// RocksDBStateBackend keeps state on the disk of the node that hosts a subtask
// (Flink's EmbeddedRocksDBStateBackend), for state larger than memory.
type RocksDBStateBackend struct{}

func (RocksDBStateBackend) stateBackend() *holdfastv1.StateBackend {
	return &holdfastv1.StateBackend{Name: "rocksdb"}
}

// NamedStateBackend is a backend by the name of its factory, which the nodes must
// have.
type NamedStateBackend struct {
	Name string
	// Options are told to the factory.
	Options map[string]string
}

func (b NamedStateBackend) stateBackend() *holdfastv1.StateBackend {
	return &holdfastv1.StateBackend{Name: b.Name, Options: maps.Clone(b.Options)}
}

// SetCheckpointStorage says where checkpoints go, as file://, s3:// or hdfs:// with a
// path that every node can reach and allows (storage.allowed-roots). Without it they
// are kept in the log, which is for small state.
func (e *StreamExecutionEnvironment) SetCheckpointStorage(url string) { e.checkpoint.Directory = url }

// EnableIncrementalCheckpoints writes what changed since the checkpoint before, where
// the state backend can tell.
func (e *StreamExecutionEnvironment) EnableIncrementalCheckpoints(on bool) {
	e.checkpoint.Incremental = on
}
