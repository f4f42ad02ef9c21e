package holdfast

import (
	"errors"
	"fmt"
)

// ExitRefused is the exit code of a program whose job is refused for good, EX_CONFIG
// of sysexits.h. `holdfast run` does not start such a program again.
const ExitRefused = 78

// ExitCode is the exit code for what [StreamExecutionEnvironment.Execute] returned: 0
// for nil, ExitRefused where the cluster refused the job and would do so again, else 1.
func ExitCode(err error) int {
	var refused *submitError
	switch {
	case err == nil:
		return 0
	case errors.As(err, &refused) && refused.err.Metadata["outcome"] == "final":
		return ExitRefused
	}
	return 1
}

// submitError is the refusal of a job.
type submitError struct {
	job string
	err *StatusError
}

// Error implements error.
func (e *submitError) Error() string { return fmt.Sprintf("submit %q: %v", e.job, e.err) }

// Unwrap gives the *StatusError to errors.As.
func (e *submitError) Unwrap() error { return e.err }
