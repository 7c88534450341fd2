#!/usr/bin/env bash
# Builds what msm-auth/tests/judges asks a SPIFFE Workload API by: somebody else's client.
#
#   scripts/build-judge.sh go-spiffe DIRECTORY       writes the program `judge` there, built by this machine's Go (≥ 1.25)
#   scripts/build-judge.sh python DIRECTORY          makes a virtualenv there, with PyPI's `spiffe`
#   scripts/build-judge.sh --check NAME DIRECTORY    whether it is there and made of today's sources
#
# Every version is pinned by the files beside the tests. DIRECTORY/made-of keeps what it was made of. Exits with 3 where this
# machine gets nothing from the Go module proxy or PyPI.
set -euo pipefail

usage() { echo "usage: ${0##*/} [--check] go-spiffe|python DIRECTORY" >&2; exit 2; }
check=
if [[ ${1:-} == --check ]]; then check=1; shift; fi
[[ $# -eq 2 ]] || usage
name=$1 directory=$2
source=$(cd "$(dirname "$0")/../msm-auth/tests/judges" && pwd)/$name
case $name in
  go-spiffe) parts=(main.go go.mod go.sum) ;;
  python) parts=(requirements.txt) ;;
  *) usage ;;
esac

is_there() {
  case $name in
    go-spiffe) [[ -x $directory/judge ]] ;;
    # Of another release of Python than the one it was made by, it finds nothing.
    python) "$directory/bin/python" -c 'import importlib.util as u, sys; sys.exit(u.find_spec("spiffe") is None)' 2>/dev/null ;;
  esac
}

if [[ -n $check ]]; then
  (cd "$source" && cat "${parts[@]}") | cmp -s - "$directory/made-of" && is_there
  exit
fi

mkdir -p "$directory"
directory=$(cd "$directory" && pwd)
rm -f "$directory/made-of"
cd "$source"
case $name in
  go-spiffe)
    go mod download || exit 3
    GOFLAGS=-mod=readonly go build -buildvcs=false -trimpath -ldflags '-s -w' -o "$directory/judge" .
    ;;
  python)
    # Debian's interpreter, whatever python3 comes first in PATH.
    /usr/bin/python3 -m venv --clear "$directory"
    "$directory/bin/python" -m pip install --quiet --disable-pip-version-check --only-binary :all: -r requirements.txt || exit 3
    ;;
esac
cat "${parts[@]}" >"$directory/made-of"
