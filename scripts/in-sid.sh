#!/usr/bin/env bash
# Runs a command in the Debian sid chroot that install-peers.sh made, in the network namespace of the caller:
#
#   scripts/in-sid.sh openRTSP -d 3 -Q rtsp://127.0.0.1:8554/test
#
# /proc, /dev and $MSM_WORK (as /w, which becomes the working directory) are mounted in a mount namespace of this one
# command: nothing stays mounted behind it, whatever way it ends.
set -euo pipefail

root=$(cd "$(dirname "$0")/.." && pwd)
export MSM_SID=${MSM_PEERS_DIR:-$root/.peers}/sid
[[ $EUID -eq 0 ]] || { echo "${0##*/}: chroot needs root" >&2; exit 1; }
[[ -d $MSM_SID/usr ]] || { echo "${0##*/}: no chroot in $MSM_SID: run scripts/install-peers.sh" >&2; exit 127; }
mkdir -p "$MSM_SID/w"

# exec all the way down: the process that the caller started is the command itself, so killing it ends the command.
exec unshare --mount --propagation private /bin/bash -euc '
  mount -t proc proc "$MSM_SID/proc"
  mount --rbind /dev "$MSM_SID/dev"
  if [[ -n ${MSM_WORK:-} ]]; then mount --bind "$MSM_WORK" "$MSM_SID/w"; fi
  exec chroot "$MSM_SID" /usr/bin/env PATH=/usr/sbin:/usr/bin:/sbin:/bin HOME=/w /bin/sh -c "cd /w && exec \"\$@\"" sh "$@"
' bash "$@"
