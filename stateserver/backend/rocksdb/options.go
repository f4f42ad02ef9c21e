package rocksdb

import (
	"context"
	"fmt"
	"log/slog"

	"github.com/cockroachdb/pebble/v2"
	"github.com/cockroachdb/pebble/v2/bloom"
	"github.com/cockroachdb/pebble/v2/sstable"

	"github.com/holdfast-io/holdfast/raftstore/keyed"
)

// formatVersion is Pebble's format of what is written, in checkpoints too. A later
// Pebble reads it.
const formatVersion = pebble.FormatColumnarBlocks

// memTables is how many memtables a state may have before writes wait: the one
// that is written, the one of a cut, and two that wait to be flushed, so that a
// cut need not wait for an earlier flush.
const memTables = 4

// options are those of a tree with the given states in it.
func options(cfg *keyed.SpaceConfig, fs *disk, log *slog.Logger) *pebble.Options {
	o := &pebble.Options{
		FS:                          fs,
		Merger:                      newMerger(cfg),
		FormatMajorVersion:          formatVersion,
		DisableWAL:                  true, // a checkpoint is what survives, not the working state
		NoSyncOnClose:               true,
		MemTableStopWritesThreshold: memTables,
		L0StopWritesThreshold:       64,
		MaxManifestFileSize:         1 << 20, // it is part of each checkpoint
		CompactionConcurrencyRange:  func() (int, int) { return 1, 2 },
		BlockPropertyCollectors:     []func() pebble.BlockPropertyCollector{newCounter},
		Logger:                      &logger{log: log, fail: fs.fail},
		EventListener:               events(fs.fail, log),
	}
	o.Levels[0].FilterPolicy = bloom.FilterPolicy(10)
	o.Levels[0].BlockSize = 4 << 10
	o.Levels[0].Compression = func() *sstable.CompressionProfile { return sstable.SnappyCompression }
	return o
}

// events turns what Pebble finds in the background into the loss of the state: a
// flush that fails would be tried for ever, with writers waiting for it.
func events(fail func(error), log *slog.Logger) *pebble.EventListener {
	return &pebble.EventListener{
		BackgroundError: func(err error) { fail(fmt.Errorf("in the background: %w", err)) },
		DataCorruption:  func(i pebble.DataCorruptionInfo) { fail(fmt.Errorf("%s: %w", i.Path, i.Details)) },
		WriteStallBegin: func(i pebble.WriteStallBeginInfo) {
			log.Log(context.Background(), slog.LevelDebug, "writes wait", "reason", i.Reason)
		},
	}
}
