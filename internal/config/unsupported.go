package config

import "strings"

// ownSubdir is why a directory for each job is not asked for.
const ownSubdir = "each job has a directory of its own below the one for checkpoints"

// plannedKeys are Flink's keys that users are likely to bring along and that
// have no effect here yet, with what to do instead where there is something.
// They are refused: a setting that is silently ignored is worse than none.
var plannedKeys = map[string]string{
	"execution.checkpointing.interval-during-backlog":    "",
	"execution.checkpointing.aligned-checkpoint-timeout": "",
	"execution.checkpointing.snapshot-compression":       "",
	"execution.checkpointing.create-subdir":              ownSubdir,
	"execution.checkpointing.write-buffer-size":          "",
	"state.backend.async":                                "",
	"execution.state-recovery.from-local":                "a node uses its own copy where it has one",
	"state.backend.local-recovery":                       "",
	"state.checkpoints.create-subdir":                    ownSubdir,
	"parallelism.default":                                "set HOLDFAST_PARALLELISM, or the parallelism in the program",
	"heartbeat.interval":                                 "set heartbeat-interval",
	"heartbeat.timeout":                                  "set session-timeout",
	"pipeline.max-parallelism":                           "set the max parallelism in the program",
	"high-availability":                                  "a cluster of three nodes is highly available by itself",
}

// plannedPrefixes are families of Flink's keys of which this version has none, or only
// those of config.go.
var plannedPrefixes = []string{
	"execution.checkpointing.checkpoints-after-tasks-finish", "execution.checkpointing.cleaner.",
	"execution.checkpointing.file-merging.", "execution.checkpointing.local-backup.", "execution.checkpointing.unaligned",
	"execution.state-recovery.without-channel-state.", "fs.", "high-availability.", "jobmanager.", "kubernetes.",
	"metrics.", "pipeline.", "queryable-state.", "rest.", "s3.", "security.",
	"state.backend.changelog.", "state.backend.forst.", "state.backend.fs.", "state.backend.latency-track.",
	"state.backend.rocksdb.", "state.changelog.", "state.storage.fs.", "table.", "taskmanager.", "web.",
}

// unsupported tells of a key of Flink that this version refuses.
func unsupported(key string) (message string, ok bool) {
	hint, ok := plannedKeys[key]
	for _, p := range plannedPrefixes {
		ok = ok || strings.HasPrefix(key, p)
	}
	if !ok {
		return "", false
	}
	message = "this key of Flink is not supported yet"
	if hint != "" {
		message += ": " + hint
	}
	return message, true
}

// unsupportedVariable is unsupported for the name of a variable, which has lost
// the difference between dots and dashes.
func unsupportedVariable(name string) (message string, ok bool) {
	for key := range plannedKeys {
		if Variable(key) == name {
			return unsupported(key)
		}
	}
	for _, p := range plannedPrefixes {
		if strings.HasSuffix(p, ".") && strings.HasPrefix(name, Variable(p)) {
			return unsupported(p)
		}
	}
	return "", false
}
