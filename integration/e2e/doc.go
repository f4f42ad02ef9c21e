// Package e2e runs scenarios with processes that are killed for real, and the
// walk-through of the example by the command line with a real Apache Kafka.
// `make test-e2e` provides the surroundings.
package e2e
