package filesystem

import (
	"testing"

	"github.com/holdfast-io/holdfast/stateserver/backend/backendtest"
)

func TestConformance(t *testing.T) { backendtest.Run(t, New) }
