#!/usr/bin/env bash
# Builds SPIRE's server and agent with this machine's Go, for the tests and deploy/spire.
#
#   scripts/build-spire.sh DIRECTORY     writes spire-server and spire-agent there (some minutes, 2 GB of Go's caches)
#
# Go ≥ 1.25 fetches the toolchain that this SPIRE wants by itself.
set -euo pipefail
version=v1.14.5

directory=${1:?usage: scripts/build-spire.sh DIRECTORY}
mkdir -p "$directory"
directory=$(cd "$directory" && pwd)

# In a module's own directory its own go.sum counts: what is built is what its authors have tested.
source=$(go mod download -json "github.com/spiffe/spire@$version" | sed -n 's/^\t"Dir": "\(.*\)",\{0,1\}$/\1/p')
[[ -d $source ]] || { echo "SPIRE $version cannot be fetched: see above" >&2; exit 1; }
cd "$source"
for program in spire-agent spire-server; do
  echo "building $program $version"
  GOFLAGS=-mod=readonly go build -buildvcs=false -trimpath -ldflags '-s -w' -o "$directory/$program" "./cmd/$program"
done
