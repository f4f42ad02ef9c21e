#!/usr/bin/env bash
# install.sh NAME DEST - builds the developer tool that tools/NAME/go.mod pins and puts it at DEST.
#
# Each tool is a module of its own: buf, protoc-gen-go and golangci-lint need different versions of the
# same libraries, and none of them belongs in the dependencies of the server. The binary is kept in a
# cache outside the checkout, keyed by the content of go.mod and go.sum and by the Go version, so a fresh
# clone copies it instead of building it again.
# env: HOLDFAST_TOOLS_CACHE (default ${XDG_CACHE_HOME:-$HOME/.cache}/holdfast/tools)
set -euo pipefail

[ $# -eq 2 ] || { echo "usage: install.sh NAME DEST" >&2; exit 2; }
name=$1 dest=$2
dir=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)/$name
[ -f "$dir/go.mod" ] || { echo "install.sh: no tool named $name" >&2; exit 2; }
pkg=$(awk '$1 == "tool" { print $2; exit }' "$dir/go.mod")

key=$( { cat "$dir/go.mod" "$dir/go.sum"; go version; go env GOOS GOARCH; } | sha256sum | cut -c1-16)
cache=${HOLDFAST_TOOLS_CACHE:-${XDG_CACHE_HOME:-$HOME/.cache}/holdfast/tools}
bin=$cache/$name-$key

mkdir -p "$cache"
# Other checkouts may want the same tool now: one builds, the others wait and find it.
exec 9>"$cache/.$name-$key.lock"
flock 9
if [ ! -x "$bin" ]; then
  tmp=$(mktemp "$cache/.$name.XXXXXX")
  trap 'rm -f "$tmp"' EXIT
  start=$SECONDS
  echo "building $name (once for each version)" >&2
  # -p and GOMAXPROCS are left alone: the go command sizes itself.
  (cd "$dir" && GOWORK=off CGO_ENABLED=0 go build -trimpath -ldflags '-s -w' -o "$tmp" "$pkg")
  chmod 755 "$tmp"
  mv "$tmp" "$bin"
  echo "built $name in $((SECONDS - start)) s" >&2
fi
exec 9>&-

mkdir -p "$(dirname "$dest")"
# Replaced by rename, so that a running copy is never written to.
cp "$bin" "$dest.tmp.$$"
mv "$dest.tmp.$$" "$dest"
