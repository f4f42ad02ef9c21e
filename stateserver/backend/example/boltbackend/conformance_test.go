package boltbackend_test

import (
	"testing"

	"github.com/holdfast-io/holdfast/stateserver/backend/backendtest"
	"github.com/holdfast-io/holdfast/stateserver/backend/example/boltbackend"
)

func TestConformance(t *testing.T) { backendtest.Run(t, boltbackend.New) }
