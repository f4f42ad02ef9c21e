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

// byName is the backend that a configuration names.
func byName(name string) StateBackend {
	switch name {
	case "memory":
		return MemoryStateBackend{}
	case "filesystem":
		return FilesystemStateBackend{}
	case "rocksdb":
		return RocksDBStateBackend{}
	}
	return NamedStateBackend{Name: name}
}
