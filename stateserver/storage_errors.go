package stateserver

import (
	"errors"

	"github.com/holdfast-io/holdfast/coordinator"
	holdfastv1 "github.com/holdfast-io/holdfast/proto/holdfast/v1"
	"github.com/holdfast-io/holdfast/stateserver/backend"
	"github.com/holdfast-io/holdfast/stateserver/storage"
	"github.com/holdfast-io/holdfast/stateserver/storage/metadata"
)

// storageReasons is the table from errors of the checkpoint storage to the reasons
// that people see.
var storageReasons = []struct {
	err    error
	reason holdfastv1.ErrorReason
}{
	{storage.ErrRefused, holdfastv1.ErrorReason_ERROR_REASON_PATH_NOT_ALLOWED},
	{storage.ErrUnknownScheme, holdfastv1.ErrorReason_ERROR_REASON_PATH_NOT_ALLOWED},
	{storage.ErrInvalidName, holdfastv1.ErrorReason_ERROR_REASON_PATH_NOT_ALLOWED},
	{storage.ErrNotFound, holdfastv1.ErrorReason_ERROR_REASON_RESTORE_FAILED},
	{storage.ErrCorrupt, holdfastv1.ErrorReason_ERROR_REASON_RESTORE_FAILED},
	{metadata.ErrNewer, holdfastv1.ErrorReason_ERROR_REASON_RESTORE_FAILED},
	{backend.ErrDamaged, holdfastv1.ErrorReason_ERROR_REASON_RESTORE_FAILED},
}

// fromStorage renders an error of a directory as an error record.
func fromStorage(what string, err error) *holdfastv1.Error {
	e := coordinator.Failure(holdfastv1.ErrorReason_ERROR_REASON_STORAGE_UNAVAILABLE, what+": "+err.Error())
	e.Outcome = holdfastv1.Outcome_OUTCOME_NOT_APPLIED
	for _, row := range storageReasons {
		if errors.Is(err, row.err) {
			e = coordinator.Failure(row.reason, what+": "+err.Error())
			break
		}
	}
	if at := (*storage.Error)(nil); errors.As(err, &at) {
		e.Metadata = map[string]string{"path": at.URL}
	}
	return e
}
