// Package stateserver is the gRPC edge of a node: it hosts operator streams,
// forwards what they want recorded to the leader, answers the admin and state
// services, and drives the coordinator while its node leads.
//
// A host acts on the state of its own node: an assignment, a barrier, an
// outcome are read there, never told by the leader. What it wants recorded it
// proposes until it is answered. See DESIGN.md.
package stateserver
