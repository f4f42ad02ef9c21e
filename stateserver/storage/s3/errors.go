package s3

import (
	"errors"
	"fmt"
	"net/http"

	"github.com/minio/minio-go/v7"

	"github.com/holdfast-io/holdfast/stateserver/storage"
)

// wrap makes err the storage's.
func (b *bucket) wrap(op, name string, err error) error {
	if err == nil {
		return nil
	}
	e := &storage.Error{Op: op, URL: storage.JoinURL(b.url, name), Err: err}
	var r minio.ErrorResponse
	if !errors.As(err, &r) {
		return e // of the network, or of the context: it may heal
	}
	if r.Message != "" {
		e.Err = fmt.Errorf("%s (%s)", r.Message, r.Code)
	}
	switch r.Code {
	case "NoSuchKey":
		e.Kind = storage.ErrNotFound
	case "NoSuchBucket":
		e.Kind = storage.ErrNotFound
		e.Remedy = fmt.Sprintf("make the bucket %s, or name another one", b.name)
	case "InvalidBucketName":
		e.Kind = storage.ErrInvalidName
	case "AccessDenied", "AllAccessDisabled", "AccountProblem":
		e.Kind = storage.ErrAccessDenied
		e.Remedy = fmt.Sprintf("let the key of the nodes read, write, list and delete below %s", b.url)
	case "InvalidAccessKeyId", "SignatureDoesNotMatch", "InvalidToken", "ExpiredToken", "AuthorizationHeaderMalformed", "NotSignedUp",
		"XAdminUserNotFound": // versitygw's
		e.Kind = storage.ErrAccessDenied
		e.Remedy = "look at AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY of the nodes, or at s3.access-key and s3.secret-key"
	case "XMinioStorageFull", "XMinioAdminBucketQuotaExceeded", "QuotaExceeded", "InsufficientStorage":
		e.Kind = storage.ErrNoSpace
		e.Remedy = "free space there, or name another bucket"
	case "InvalidRange":
		e.Kind = storage.ErrCorrupt
	default:
		e.Kind = kindOfStatus(r.StatusCode)
	}
	return e
}

// kindOfStatus is for codes that servers other than Amazon's make up.
func kindOfStatus(status int) error {
	switch status {
	case http.StatusForbidden, http.StatusUnauthorized:
		return storage.ErrAccessDenied
	case http.StatusNotFound:
		return storage.ErrNotFound
	case http.StatusInsufficientStorage:
		return storage.ErrNoSpace
	default:
		return storage.ErrUnavailable
	}
}

// isCode says whether err is the answer with this code.
func isCode(err error, code string) bool {
	var r minio.ErrorResponse
	return errors.As(err, &r) && r.Code == code
}
