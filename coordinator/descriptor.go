package coordinator

import (
	"fmt"
	"strings"

	holdfastv1 "github.com/holdfast-io/holdfast/proto/holdfast/v1"
)

const knownTypes = "known are bytes, string, int64, float64, bool, json, proto:<full name>"

// normalizeDescriptor checks the kind, the types and the TTL of a state and fills in
// the defaults of the TTL. The text says what is wrong, "" for nothing.
func normalizeDescriptor(d *holdfastv1.StateDescriptor) string {
	isMap := d.Kind == holdfastv1.StateKind_STATE_KIND_MAP
	switch {
	case d.Kind == holdfastv1.StateKind_STATE_KIND_UNSPECIFIED || holdfastv1.StateKind_name[int32(d.Kind)] == "":
		return fmt.Sprintf("unknown kind %d; known are VALUE, LIST, MAP, REDUCING, AGGREGATING", d.Kind)
	case !typeRE.MatchString(d.Type):
		return fmt.Sprintf("unknown type %s; %s", quote(d.Type), knownTypes)
	case isMap && !typeRE.MatchString(d.MapKeyType):
		return fmt.Sprintf("unknown type %s of the keys of the map; %s", quote(d.MapKeyType), knownTypes)
	case !isMap && d.MapKeyType != "":
		return "map_key_type is set, and it is no map"
	}
	return normalizeTTL(d)
}

func normalizeTTL(d *holdfastv1.StateDescriptor) string {
	t := d.Ttl
	if t.GetTtlMs() == 0 {
		d.Ttl = nil // what is disabled has no other settings to differ in
		return ""
	}
	if holdfastv1.TtlUpdateType_name[int32(t.UpdateType)] == "" {
		return fmt.Sprintf("unknown TTL update type %d; known are ON_CREATE_AND_WRITE and ON_READ_AND_WRITE", t.UpdateType)
	}
	if holdfastv1.TtlVisibility_name[int32(t.Visibility)] == "" {
		return fmt.Sprintf("unknown TTL visibility %d; known are NEVER_RETURN_EXPIRED and RETURN_EXPIRED_IF_NOT_CLEANED_UP", t.Visibility)
	}
	t.TtlMs = min(t.TtlMs, longestMs)
	setDefault(&t.UpdateType, holdfastv1.TtlUpdateType_TTL_UPDATE_TYPE_ON_CREATE_AND_WRITE)
	setDefault(&t.Visibility, holdfastv1.TtlVisibility_TTL_VISIBILITY_NEVER_RETURN_EXPIRED)
	return ""
}

// CheckRestorable compares the descriptor of a state in a snapshot with the one that
// a job declares for it. Kind and types must be the same, both must have a TTL or
// neither, as in Flink, and the version of the type must not be older than what wrote
// the snapshot: newer programs read what older ones wrote. How long entries live, what
// updates them and who sees expired ones may change. The error is STATE_INCOMPATIBLE
// and names the state.
func CheckRestorable(operatorUID string, snapshot, job *holdfastv1.StateDescriptor) *holdfastv1.Error {
	what := ""
	timed := func(d *holdfastv1.StateDescriptor) string {
		if d.GetTtl().GetTtlMs() > 0 {
			return "a TTL"
		}
		return "no TTL"
	}
	kind := func(d *holdfastv1.StateDescriptor) string {
		return strings.TrimPrefix(d.GetKind().String(), "STATE_KIND_")
	}
	switch {
	case snapshot.GetKind() != job.GetKind():
		what = fmt.Sprintf("the kind %s, and the job declares %s", kind(snapshot), kind(job))
	case snapshot.GetType() != job.GetType():
		what = fmt.Sprintf("the type %s, and the job declares %s", quote(snapshot.GetType()), quote(job.GetType()))
	case snapshot.GetMapKeyType() != job.GetMapKeyType():
		what = fmt.Sprintf("keys of the type %s, and the job declares %s", quote(snapshot.GetMapKeyType()), quote(job.GetMapKeyType()))
	case timed(snapshot) != timed(job):
		what = fmt.Sprintf("%s, and the job declares %s", timed(snapshot), timed(job))
	case snapshot.GetTypeVersion() > job.GetTypeVersion():
		what = fmt.Sprintf("version %d of its type, and the job declares the older version %d", snapshot.GetTypeVersion(), job.GetTypeVersion())
	default:
		return nil
	}
	return Failure(holdfastv1.ErrorReason_ERROR_REASON_STATE_INCOMPATIBLE,
		fmt.Sprintf("state %q of operator %q has in the snapshot %s; declare it as it was, or give it another name", job.GetName(), operatorUID, what),
		"operator_uid", operatorUID, "state_name", job.GetName())
}
