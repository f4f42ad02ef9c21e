// Package backends runs state backends on processes: the counter on each backend and
// each checkpoint storage, with kills (`make matrix` prints the whole table).
package backends
