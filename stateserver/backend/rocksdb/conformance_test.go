package rocksdb_test

import (
	"testing"

	"github.com/holdfast-io/holdfast/stateserver/backend/backendtest"
	"github.com/holdfast-io/holdfast/stateserver/backend/rocksdb"
)

func TestConformance(t *testing.T) { backendtest.Run(t, rocksdb.New) }
