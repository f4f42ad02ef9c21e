package cli

import (
	"errors"
	"fmt"

	"github.com/spf13/pflag"
)

// flagError says of a value what it should be, where the library says how Go
// failed to read it.
func flagError(err error) error {
	var bad *pflag.InvalidValueError
	if !errors.As(err, &bad) {
		return err
	}
	wanted := map[string]string{
		"int": "a whole number", "int64": "a whole number", "uint": "a whole number from 0", "uint32": "a whole number from 0", "uint64": "a whole number from 0",
		"duration": "a duration such as 500ms, 30s or 5m", "bool": "true or false", "float64": "a number",
	}[bad.GetFlag().Value.Type()]
	if wanted == "" {
		return err
	}
	return fmt.Errorf("--%s is %s, not %q", bad.GetFlag().Name, wanted, bad.GetValue())
}
