// Package testop is the operator of the scenarios: a program built on the Go
// client that counts the records of a harness.Feed by key. Test binaries become
// it when they are started with harness.EnvOperator.
package testop
