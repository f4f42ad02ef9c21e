package coordinator

import (
	"fmt"
	"strings"

	holdfastv1 "github.com/holdfast-io/holdfast/proto/holdfast/v1"
)

const (
	defaultInlineThreshold = 20 << 10
	// maxDirectory bounds the URL of a directory.
	maxDirectory = 1024
)

// normalizeStorage checks where the checkpoints of a job go and fills the defaults.
func normalizeStorage(c *holdfastv1.CheckpointConfig) *holdfastv1.Error {
	for _, d := range []struct {
		field string
		url   *string
	}{{"checkpoint.directory", &c.Directory}, {"checkpoint.savepoint_directory", &c.SavepointDirectory}} {
		if *d.url == "" {
			continue
		}
		url, e := NormalizeDirectory(*d.url)
		if e != nil {
			return invalid(d.field, e.Message)
		}
		*d.url = url
	}
	if _, ok := holdfastv1.CheckpointStorage_name[int32(c.Storage)]; !ok {
		return invalid("checkpoint.storage", fmt.Sprintf("unknown checkpoint storage %d; known are JOBMANAGER and FILESYSTEM", c.Storage))
	}
	if _, ok := holdfastv1.CheckpointRetention_name[int32(c.Retention)]; !ok {
		return invalid("checkpoint.retention", fmt.Sprintf("unknown retention %d; known are NO_EXTERNALIZED_CHECKPOINTS, DELETE_ON_CANCELLATION and RETAIN_ON_CANCELLATION", c.Retention))
	}
	storage := holdfastv1.CheckpointStorage_CHECKPOINT_STORAGE_JOBMANAGER
	if c.Directory != "" {
		storage = holdfastv1.CheckpointStorage_CHECKPOINT_STORAGE_FILESYSTEM
	}
	setDefault(&c.Storage, storage)
	setDefault(&c.Retention, holdfastv1.CheckpointRetention_CHECKPOINT_RETENTION_NO_EXTERNALIZED_CHECKPOINTS)
	setDefault(&c.InlineThreshold, defaultInlineThreshold)
	switch {
	case c.Directory == "" && c.Storage == holdfastv1.CheckpointStorage_CHECKPOINT_STORAGE_FILESYSTEM:
		return invalid("checkpoint.storage", "the checkpoint storage FILESYSTEM needs a directory; set execution.checkpointing.dir")
	case c.Directory == "" && c.Retention != holdfastv1.CheckpointRetention_CHECKPOINT_RETENTION_NO_EXTERNALIZED_CHECKPOINTS:
		return invalid("checkpoint.retention", fmt.Sprintf("%s needs a directory in which the checkpoints stay; set execution.checkpointing.dir",
			strings.TrimPrefix(c.Retention.String(), "CHECKPOINT_RETENTION_")))
	case c.InlineThreshold > MaxInlineBytes:
		return invalid("checkpoint.inline_threshold", fmt.Sprintf("an inline threshold of %d bytes is above the largest, %d", c.InlineThreshold, MaxInlineBytes))
	}
	return nil
}

// NormalizeDirectory brings the URL of a directory into the one form that it has:
// scheme://authority/path without a slash at its end. What could mean two things is
// refused and not repaired. Whether a node may use it is the node's to say.
func NormalizeDirectory(raw string) (string, *holdfastv1.Error) {
	bad := func(why string) (string, *holdfastv1.Error) {
		return "", Failure(holdfastv1.ErrorReason_ERROR_REASON_INVALID_REQUEST, "the directory "+quote(raw)+" "+why, "field", "directory")
	}
	const example = "it is written like file:///path, s3://bucket/path or hdfs://host:port/path"
	scheme, rest, ok := strings.Cut(raw, ":")
	scheme = strings.ToLower(scheme)
	switch {
	case len(raw) > maxDirectory:
		return bad(fmt.Sprintf("has %d bytes, at most %d are allowed", len(raw), maxDirectory))
	case strings.HasPrefix(raw, "/"):
		return bad("has no scheme; a mount that every node has at the same path is written file://" + cutText(raw))
	case !ok || scheme != "file" && scheme != "s3" && scheme != "hdfs":
		return bad("has no known scheme; " + example)
	case !strings.HasPrefix(rest, "/"):
		return bad("has no slash behind the scheme; " + example)
	}
	for _, c := range []byte(rest) {
		if c < ' ' || c == 0x7f || strings.IndexByte(`%?#\`, c) >= 0 {
			return bad(fmt.Sprintf("has the character %q, which a directory may not have", c))
		}
	}
	authority, path := "", rest // file:/path, as Hadoop prints it
	if after, two := strings.CutPrefix(rest, "//"); two {
		authority, path, _ = strings.Cut(after, "/")
		path = "/" + path
	}
	path = strings.TrimSuffix(path, "/")
	switch {
	case strings.Contains(authority, "@"):
		return bad("has a user in it; credentials belong into the configuration or the environment of the nodes")
	case scheme == "file" && authority != "":
		return bad("names a host; " + example)
	case scheme != "file" && authority == "":
		return bad("names no bucket or host; " + example)
	case scheme == "file" && path == "":
		return bad("is the root of the file system; name a directory")
	}
	for i, element := range strings.Split(path, "/") {
		if i > 0 && (element == "" || element == "." || element == "..") {
			return bad(fmt.Sprintf("has the element %q; write the directory that is meant", element))
		}
	}
	return scheme + "://" + authority + path, nil
}

// cutText is a client's text at a length that fits a message.
func cutText(s string) string { return strings.ToValidUTF8(s[:min(len(s), maxQuoted)], "") }
