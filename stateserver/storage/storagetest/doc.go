// Package storagetest is for tests: the suite that every storage passes (Run), and
// a storage that fails on demand (Faulty).
package storagetest
