// Package statevalue is how lists and maps of keyed state are written as bytes
// (docs/protocol.md, 5.9), with and without the times that a TTL keeps.
//
// Without times:
//
//	list: elements, each uint32 length, bytes
//	map:  entries, each uint32 key length, key, uint32 value length, value;
//	      keys ascend by their bytes, none is there twice
//	keys: those of a map, each uint32 length, bytes, ascending
//
// With times, int64 milliseconds since 1970 stand before each value, element and
// entry: when it was last updated. Numbers are little endian.
//
// No function keeps its input, and none panics on garbage.
package statevalue
