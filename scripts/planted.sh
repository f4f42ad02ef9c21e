#!/usr/bin/env bash
# Plants the bugs of docs/planted-bugs.md one by one: the test of each must fail, with its message. First the same
# tests without a bug: they must pass.
# usage: planted.sh all|fast|TAG...
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
[ $# -ge 1 ] || { sed -n '2,4s/^# //p' "$0" >&2; exit 2; }

rows() { # tag<TAB>package<TAB>test<TAB>message<TAB>speed
  awk -F ' *\\| *' '/^\| `bug_/ { gsub(/`/, ""); printf "%s\t%s\t%s\t%s\t%s\n", $2, $3, $4, $5, $6 }' docs/planted-bugs.md
}
# What is planted stands in the table, and what stands in the table is planted.
diff <(rows | cut -f1 | cut -d, -f1 | sort) <(git ls-files -co --exclude-standard '*.go' | xargs grep -hoE '^//go:build bug_[a-z_]+$' | awk '{ print $2 }' | sort -u) ||
  { echo 'planted.sh: docs/planted-bugs.md (<) and the build tags in the source (>) differ' >&2; exit 1; }

case $1 in
all) selected=$(rows) ;;
fast) selected=$(rows | awk -F '\t' '$5 == "fast"') ;;
*) selected=$(rows | grep -E "^($(IFS='|'; echo "$*"))[,	]") ;;
esac

out=$(mktemp)
trap 'rm -f "$out"' EXIT
# Time for a search that finds nothing is bounded; one that finds something stops. It begins at one place, so that
# of several invariants that a bug breaks always the same shows first; HOLDFAST_TEST_SEED takes another.
run() { # run TAG PACKAGE TEST CHECKS
  local rapid=()
  grep -qlE '"pgregory.net/rapid"' "$2"/*_test.go && rapid=(-rapid.seed="${HOLDFAST_TEST_SEED:-1}" -rapid.checks="$4" -rapid.nofailfile -rapid.shrinktime=1s)
  HOLDFAST_TEST_PATIENCE=${HOLDFAST_TEST_PATIENCE:-20s} \
    go test -count=1 -timeout=5m -tags="$1" -run="^$3" "$2" "${rapid[@]}" >"$out" 2>&1
}

bad=0
while IFS=$'\t' read -r package test others; do
  begin=$SECONDS
  if run "$others" "$package" "$test" 100 && ! grep -q 'no tests to run' "$out"; then
    printf '%-26s %-36s passes      %3d s\n' '-' "$test" $((SECONDS - begin))
  else
    printf '%-26s %-36s FAILS WITHOUT A BUG\n' '-' "$test"
    tail -n 30 "$out" >&2
    bad=1
  fi
done < <(awk -F '\t' '{ sub(/^[^,]*,?/, "", $1); print $2 "\t" $3 "\t" $1 }' <<<"$selected" | sort -u)

while IFS=$'\t' read -r tag package test message _; do
  begin=$SECONDS
  if run "$tag" "$package" "$test" 20000; then
    printf '%-26s %-36s NOT CAUGHT  %3d s\n' "$tag" "$test" $((SECONDS - begin))
    bad=1
  elif ! grep -qF -- "$message" "$out" || ! grep -q '^--- FAIL\|^ *--- FAIL' "$out"; then
    printf '%-26s %-36s FAILS OTHERWISE, without "%s"\n' "$tag" "$test" "$message"
    tail -n 30 "$out" >&2
    bad=1
  else
    printf '%-26s %-36s caught      %3d s\n' "$tag" "$test" $((SECONDS - begin))
  fi
done <<<"$selected"
[ $bad -eq 0 ]
