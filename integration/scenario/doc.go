// Package scenario holds what must be true of every cluster, whatever runs its
// nodes. Each function is one scenario; the packages integration (nodes in
// process) and integration/e2e (processes) run them.
package scenario
