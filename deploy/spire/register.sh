#!/usr/bin/env bash
# Gives a process on this machine an identity.
#
#   register.sh PATH SELECTOR [SECONDS]
#
#   register.sh /proxy/a unix:uid:1001          whatever user 1001 runs is spiffe://example.org/proxy/a
#   register.sh /proxy/a unix:path:/opt/msm-proxy 60   that program is, with SVIDs of a minute
set -euo pipefail
(($# == 2 || $# == 3)) || { sed -n '2,7s/^# \{0,1\}//p' "$0" >&2; exit 2; }
source "$(dirname "$0")/environment.sh"

spire-server entry create -socketPath "$SPIRE_DIR/server.sock" \
  -parentID "spiffe://$SPIRE_TRUST_DOMAIN/machine" \
  -spiffeID "spiffe://$SPIRE_TRUST_DOMAIN$1" -selector "$2" ${3:+-x509SVIDTTL "$3"}
