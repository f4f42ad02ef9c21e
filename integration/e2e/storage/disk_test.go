package storage_test

import (
	"fmt"
	"io"
	"testing"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/holdfast-io/holdfast/integration/harness"
	"github.com/holdfast-io/holdfast/stateserver/storage"
	"github.com/holdfast-io/holdfast/stateserver/storage/file"
	"github.com/holdfast-io/holdfast/stateserver/storage/storagetest"
)

// A disk that is full fails the file, leaves what was committed, and takes files
// again once there is space.
func TestStorage_FileDiskFull(t *testing.T) {
	schemes := map[string]storage.Scheme{"file": file.Scheme{}}
	s := open(t, schemes, "file://"+harness.SmallDisk(t, 8).Dir())
	defer s.Close()
	before := storagetest.Write(t, s, "chk-1/f", storagetest.Contents(1, 4<<20))
	tries := 0
	_, err := storage.Put(t.Context(), s, "chk-2/f", storage.RetryPolicy{}, func(w io.Writer) error {
		tries++
		_, err := w.Write(storagetest.Contents(2, 6<<20))
		return err
	})
	wantError(t, err, storage.ErrNoSpace, "write "+s.URL()+"/chk-2/f: no space left on device; free space there, or name another directory")
	if tries != 1 {
		t.Errorf("%d tries, although space does not come by waiting", tries)
	}
	if n, err := s.DeleteUnfinished(t.Context(), "", time.Now().Add(time.Hour)); n != 0 || err != nil {
		t.Errorf("%d unfinished files hold space, %v", n, err)
	}
	if _, err := storage.ReadAll(t.Context(), s, storage.Handle{File: &before}); err != nil {
		t.Errorf("what was committed: %v", err)
	}
	if err := s.DeleteAll(t.Context(), "chk-1"); err != nil {
		t.Fatalf("delete on a full disk: %v", err)
	}
	storagetest.Write(t, s, "chk-3/f", storagetest.Contents(3, 6<<20))
}

// More files than S3 lists or deletes in one request.
func TestStorage_S3ManyFiles(t *testing.T) {
	s := fresh(t, s3Schemes(t, harness.RequireEnv(t, harness.EnvS3)[0]), "s3://ckpt/many")
	defer s.Close()
	const files = 1050
	var g errgroup.Group
	g.SetLimit(8)
	for i := range files {
		g.Go(func() error {
			w, err := storage.Create(t.Context(), s, fmt.Sprintf("shared/%04d", i))
			if err != nil {
				return err
			}
			_, err = w.Commit()
			return err
		})
	}
	if err := g.Wait(); err != nil {
		t.Fatal(err)
	}
	all, err := storage.ListAll(t.Context(), s, "shared")
	if err != nil || len(all) != files {
		t.Fatalf("list has %d of %d files, %v", len(all), files, err)
	}
	if err := s.DeleteAll(t.Context(), "shared"); err != nil {
		t.Fatal(err)
	}
	if all, err = storage.ListAll(t.Context(), s, ""); err != nil || len(all) != 0 {
		t.Errorf("%d files are left, %v", len(all), err)
	}
}
