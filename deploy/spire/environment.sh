# What the scripts here share; each may be set before.
#
#   SPIRE_DIR           where the server's and agent's data and sockets are; default /run/msm-spire
#   SPIRE_TRUST_DOMAIN  default example.org
#   SPIRE_PORT          of the server, on loopback; default 8081
#   SPIRE_BIN           where spire-server and spire-agent are; default: PATH, then .peers/spire beside the workspace
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
export SPIRE_DIR=${SPIRE_DIR:-/run/msm-spire}
export SPIRE_TRUST_DOMAIN=${SPIRE_TRUST_DOMAIN:-example.org}
export SPIRE_PORT=${SPIRE_PORT:-8081}
PATH=${SPIRE_BIN:+$SPIRE_BIN:}$PATH:${MSM_PEERS_DIR:-$here/../../.peers}/spire

for program in spire-server spire-agent; do
  command -v "$program" >/dev/null || {
    echo "$program is not installed: run scripts/install-peers.sh, or set SPIRE_BIN" >&2
    exit 1
  }
done
