#!/usr/bin/env bash
# Runs every fuzzer of the module in turn, each for some time, and tells what each did.
# usage: fuzz.sh TIME [PATTERN]    TIME of each, as in 5m; PATTERN: those only whose name matches
# env: FUZZ_PARALLEL, the workers of each (default 1)
# A find is in testdata/fuzz/NAME of its package; check it in with the mend, so that every `go test` runs it again.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
[ $# -ge 1 ] || { sed -n '2,5s/^# //p' "$0" >&2; exit 2; }
time=$1 pattern=${2:-.}

# Only packages that have one are built; what they have is the test binary's to say.
mapfile -t packages < <(git grep -lE '^func Fuzz[A-Z]' -- '*_test.go' | xargs -rn1 dirname | sort -u | sed 's|^|./|')
fuzzers=()
for p in "${packages[@]}"; do
  while read -r name; do fuzzers+=("$p $name"); done < <(go test -list '^Fuzz' "$p" | grep '^Fuzz' | grep -E -- "$pattern" || true)
done
[ ${#fuzzers[@]} -gt 0 ] || { echo "fuzz.sh: no fuzzer matches $pattern" >&2; exit 2; }

out=$(mktemp)
trap 'rm -f "$out"' EXIT
failed=()
for f in "${fuzzers[@]}"; do
  read -r package name <<<"$f"
  begin=$SECONDS
  if go test -run='^$' -fuzz="^$name\$" -fuzztime="$time" -fuzzminimizetime=20s -parallel="${FUZZ_PARALLEL:-1}" "$package" >"$out" 2>&1; then
    printf '%-28s %-36s ok    %4d s  %s\n' "$name" "$package" $((SECONDS - begin)) "$(grep -o 'execs: .*' "$out" | tail -n 1)"
  else
    printf '%-28s %-36s FOUND %4d s\n' "$name" "$package" $((SECONDS - begin))
    tail -n 60 "$out" >&2
    failed+=("$name")
  fi
done
[ ${#failed[@]} -eq 0 ] || { echo "finds: ${failed[*]}" >&2; exit 1; }
