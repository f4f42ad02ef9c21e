package history

import (
	"errors"
	"os"
	"testing"

	"github.com/anishathalye/porcupine"
)

// picture writes porcupine's page of a history into a file that outlives the
// test.
func picture(t testing.TB, name string, model porcupine.Model, info porcupine.LinearizationInfo) string {
	t.Helper()
	f, err := os.CreateTemp("", "holdfast-"+name+"-*.html")
	if err != nil {
		return err.Error()
	}
	if err := errors.Join(porcupine.Visualize(model, info, f), f.Close()); err != nil {
		t.Errorf("draw the history: %v", err)
	}
	return f.Name()
}
