// Package backendtest is the suite that every state backend passes: those of the
// project, and those that others write.
//
//	func TestConformance(t *testing.T) { backendtest.Run(t, mybackend.New) }
//
// It checks each guarantee of package backend against a map. It takes some seconds,
// and is to be run with -race too.
package backendtest
