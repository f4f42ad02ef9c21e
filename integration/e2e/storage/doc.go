// Package storage runs the suite of checkpoint storage against real servers: S3
// (versitygw) and HDFS (Hadoop's own). `make test-e2e` provides them.
package storage
