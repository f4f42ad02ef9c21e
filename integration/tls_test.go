package integration

import (
	"testing"

	"github.com/holdfast-io/holdfast/integration/harness"
	"github.com/holdfast-io/holdfast/integration/scenario"
)

func TestTLS_LeaderKill(t *testing.T) {
	scenario.LeaderKill(t, harness.InProcess(t, harness.Options{TLS: true}), 3)
}

func TestTLS_RotationUnderLoad(t *testing.T) {
	scenario.RotateCertificates(t, harness.InProcess(t, harness.Options{TLS: true}))
}

func TestTLS_StrangersAreRefused(t *testing.T) {
	scenario.StrangersAreRefused(t, harness.InProcess(t, harness.Options{TLS: true}))
}
