#!/usr/bin/env bash
# proto.sh generate | check | breaking - code from the protos, and what guards them.
#
#   generate  formats the protos and writes *.pb.go beside them; removes those whose proto is gone
#   check     lint, format, and a fresh generation compared with the checked-in code; changes nothing
#   breaking  compares with an earlier state of the protos. The base is the first of:
#             PROTO_BASE (a git revision, or 'none'), the newest tag v*, the point where HEAD left main
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
buf=build/tools/buf

fresh() { "$buf" generate --output "$1"; }

pb_files() { (cd "$1" && find . -name '*.pb.go' | sort); }

generate() {
  local tmp=$1 f
  "$buf" format -w
  fresh "$tmp"
  while read -r f; do
    [ -f "$tmp/proto/$f" ] || { rm "proto/$f"; echo "removed proto/${f#./}"; }
  done < <(pb_files proto)
  while read -r f; do
    # Unchanged files keep their time stamp.
    cmp -s "$tmp/proto/$f" "proto/$f" || { cp "$tmp/proto/$f" "proto/$f"; echo "wrote proto/${f#./}"; }
  done < <(pb_files "$tmp/proto")
}

check() {
  local tmp=$1
  "$buf" lint
  "$buf" format --diff --exit-code || { echo "proto.sh: run 'make proto'" >&2; return 1; }
  fresh "$tmp/want"
  mkdir "$tmp/have"
  find proto -name '*.pb.go' -exec cp --parents -t "$tmp/have" {} +
  if ! diff -r -u "$tmp/have" "$tmp/want" >"$tmp/diff"; then
    head -60 "$tmp/diff" >&2
    echo "proto.sh: the checked-in code is not what the protos generate: run 'make proto'" >&2
    return 1
  fi
  echo "proto: lint, format and $(pb_files proto | wc -l) generated files agree"
}

base() {
  local main rev
  if [ -n "${PROTO_BASE:-}" ]; then
    [ "$PROTO_BASE" = none ] && return 0
    git rev-parse --verify --quiet "$PROTO_BASE^{commit}" ||
      { echo "proto.sh: PROTO_BASE=$PROTO_BASE is no revision" >&2; return 1; }
    return 0
  fi
  rev=$(git describe --tags --abbrev=0 --match 'v*' HEAD 2>/dev/null || true)
  [ -n "$rev" ] && { echo "$rev"; return 0; }
  for main in origin/main main; do
    rev=$(git merge-base HEAD "$main" 2>/dev/null || true)
    [ -n "$rev" ] && [ "$rev" != "$(git rev-parse HEAD)" ] && { echo "$rev"; return 0; }
  done
  return 0
}

breaking() {
  local tmp=$1 rev
  if ! git rev-parse --verify --quiet HEAD >/dev/null; then
    echo "proto-breaking: skipped, this is not a git checkout"
    return 0
  fi
  rev=$(base)
  if [ -z "$rev" ]; then
    echo "proto-breaking: skipped, no base: no release tag, and HEAD has not left main (set PROTO_BASE)"
    return 0
  fi
  if ! git cat-file -e "$rev:proto" 2>/dev/null; then
    echo "proto-breaking: skipped, $rev has no protos"
    return 0
  fi
  git archive "$rev" proto | tar -x -C "$tmp"
  cp buf.yaml "$tmp/"
  "$buf" breaking --against "$tmp"
  echo "proto-breaking: compatible with $rev"
}

tmp=$(mktemp -d)
trap 'rm -rf "$tmp"' EXIT
case ${1:-} in
  generate | check | breaking) "$1" "$tmp" ;;
  *) sed -n '2,7s/^# \{0,1\}//p' "$0" >&2; exit 2 ;;
esac
