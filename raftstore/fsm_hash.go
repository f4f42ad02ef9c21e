package raftstore

import (
	"context"
	"encoding/binary"
	"fmt"
	"sync"

	"github.com/cespare/xxhash/v2"
	"google.golang.org/protobuf/proto"
)

// hashesKept is how many marked hashes a node remembers.
const hashesKept = 16

// hashLog keeps the hash of the whole state at each index that a MarkHash
// command marked. Replicas are equal if and only if their hashes at the same
// index are. The view is taken in Apply; the hash is computed beside it.
type hashLog struct {
	mu   sync.Mutex
	list []*markedHash
}

type markedHash struct {
	index uint64
	done  chan struct{}
	hash  string
	err   error
}

func (l *hashLog) take(index uint64, v *fsmView) {
	h := &markedHash{index: index, done: make(chan struct{})}
	l.mu.Lock()
	l.list = append(l.list, h)
	if len(l.list) > hashesKept {
		l.list = l.list[1:]
	}
	l.mu.Unlock()
	go func() {
		defer close(h.done)
		defer v.Release()
		h.hash, h.err = v.hash()
	}()
}

func (l *hashLog) find(index uint64) *markedHash {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, h := range l.list {
		if h.index == index {
			return h
		}
	}
	return nil
}

// hash covers every record and the keyed state, by content and not by layout.
func (v *fsmView) hash() (string, error) {
	d := xxhash.New()
	var size [8]byte
	for _, r := range v.records {
		b, err := proto.MarshalOptions{Deterministic: true}.Marshal(r)
		if err != nil {
			return "", fmt.Errorf("hash a coordinator record: %w", err)
		}
		binary.LittleEndian.PutUint64(size[:], uint64(len(b)))
		_, _ = d.Write(size[:])
		_, _ = d.Write(b)
	}
	return fmt.Sprintf("%016x%016x", d.Sum64(), v.keyed.Hash()), nil
}

// stateHash waits for the hash that was marked at index on this node.
func (f *fsm) stateHash(ctx context.Context, index uint64) (string, error) {
	h := f.hashes.find(index)
	if h == nil {
		return "", fmt.Errorf("no hash was marked at index %d on this node since it started", index)
	}
	select {
	case <-h.done:
		return h.hash, h.err
	case <-ctx.Done():
		return "", ctx.Err()
	}
}
