#!/usr/bin/env bash
# gotest.sh NAME LIMIT PATTERN... [-- GO-TEST-FLAGS...] - runs one tier of tests within LIMIT (like 3m).
#
# A PATTERN is a package pattern of the go command, or !PATTERN to leave packages out. Packages without
# tests are left out, so that the last line is an "ok" or a "FAIL" of go test. A tier without any test is
# an error: a check that checks nothing must not be green.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

[ $# -ge 3 ] || { sed -n '2,6s/^# \{0,1\}//p' "$0" >&2; exit 2; }
name=$1 limit=$2
shift 2
want=() without=()
while [ $# -gt 0 ]; do
  case $1 in
    --) shift; break ;;
    !*) without+=("${1#!}") ;;
    *) want+=("$1") ;;
  esac
  shift
done

# The go command fails on a directory that does not exist.
present() {
  local p d
  for p in "$@"; do
    d=${p%...}
    [ -d "$d" ] && echo "$p"
  done
  return 0
}

with_tests() {
  local found
  mapfile -t found < <(present "$@")
  [ ${#found[@]} -gt 0 ] || return 0
  # -e: a broken package is go test's to report, beside the results of the others.
  go list -e -f '{{if or .TestGoFiles .XTestGoFiles}}{{.ImportPath}}{{end}}' "${found[@]}"
}

listed=$(with_tests "${want[@]}")
if [ ${#without[@]} -gt 0 ]; then
  left_out=$(with_tests "${without[@]}")
  # grep's status 1 (no line left) is told by the check below.
  listed=$(grep -vxF -e "$left_out" <<<"$listed" || true)
fi
mapfile -t packages < <(grep . <<<"$listed" || true)
[ ${#packages[@]} -gt 0 ] || { echo "gotest.sh: $name: no tests in ${want[*]}" >&2; exit 1; }

echo "== $name: ${#packages[@]} packages, limit $limit"
# go test's own limit counts for each package and prints the goroutines. The outer one counts for the
# tier and includes compiling, for which it leaves the same time again. It ends the whole process group;
# in the background, so that an interrupt of this script reaches it.
seconds=$(( $(sed -E 's/^([0-9]+)m$/\1*60/; s/^([0-9]+)s$/\1/' <<<"$limit") ))
timeout --kill-after=20 "$((seconds * 2 + 120))" go test -timeout="$limit" "$@" "${packages[@]}" </dev/null &
pid=$!
trap 'kill -TERM "$pid" 2>/dev/null; wait "$pid"; exit 130' INT TERM
status=0
wait "$pid" || status=$?
[ "$status" -ne 124 ] || echo "gotest.sh: $name: not finished after $((seconds * 2 + 120)) s" >&2
exit "$status"
