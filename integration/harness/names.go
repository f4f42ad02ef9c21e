package harness

import (
	"crypto/rand"
	"encoding/hex"
)

// RandomName is a prefix with random digits.
func RandomName(prefix string) string {
	var b [6]byte
	rand.Read(b[:])
	return prefix + "-" + hex.EncodeToString(b[:])
}
