#!/usr/bin/env bash
# Runs a SPIRE server and agent for the members on this machine, until it is interrupted.
#
#   deploy/spire/run.sh
#   SPIFFE_ENDPOINT_SOCKET=unix:///run/msm-spire/agent.sock msm-proxy run --config …
#
# Says `ready: …` once the Workload API is there. environment.sh has what can be set.
set -euo pipefail
source "$(dirname "$0")/environment.sh"

mkdir -p "$SPIRE_DIR/server" "$SPIRE_DIR/agent"
chmod 700 "$SPIRE_DIR/server" "$SPIRE_DIR/agent"

# Nothing is left behind by a script that was killed.
bound=()
! command -v setpriv >/dev/null || bound=(setpriv --pdeathsig TERM)

children=()
stop() {
  trap - EXIT
  ((${#children[@]} == 0)) || kill "${children[@]}" 2>/dev/null || true
  wait
}
trap stop EXIT
trap 'exit 0' INT TERM

# Waits for the last child to say that it is healthy.
healthy() {
  local name=$1 child=${children[-1]}
  shift
  for ((i = 0; i < 300; i++)); do
    "$@" >/dev/null 2>&1 && return
    kill -0 "$child" 2>/dev/null || { echo "$name ended: see above" >&2; exit 1; }
    sleep 0.1
  done
  echo "$name is not healthy after 30 s" >&2
  exit 1
}

"${bound[@]}" spire-server run -config "$here/server.conf" -expandEnv &
children+=($!)
healthy spire-server spire-server healthcheck -socketPath "$SPIRE_DIR/server.sock"
spire-server bundle show -socketPath "$SPIRE_DIR/server.sock" >"$SPIRE_DIR/bundle.pem"

# An agent that was here before still has its identity.
token=()
if [[ ! -e $SPIRE_DIR/agent/agent-data.json ]]; then
  words=$(spire-server token generate -socketPath "$SPIRE_DIR/server.sock" -ttl 60 \
    -spiffeID "spiffe://$SPIRE_TRUST_DOMAIN/machine")
  install -m 600 /dev/null "$SPIRE_DIR/agent/token"
  printf '%s' "${words##* }" >"$SPIRE_DIR/agent/token"
  token=(-joinTokenFile "$SPIRE_DIR/agent/token")
fi
"${bound[@]}" spire-agent run -config "$here/agent.conf" -expandEnv "${token[@]}" &
children+=($!)
healthy spire-agent spire-agent healthcheck -socketPath "$SPIRE_DIR/agent.sock"
rm -f "$SPIRE_DIR/agent/token"

echo "ready: SPIFFE_ENDPOINT_SOCKET=unix://$SPIRE_DIR/agent.sock"
wait -n || true
