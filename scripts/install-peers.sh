#!/usr/bin/env bash
# Installs the real peers that `make test` plays against: ffmpeg, GStreamer with its RTSP server, tshark, nftables, libsrtp, from
# Debian sid in a chroot live555's programs, a VLC that has the live555 client and an OpenSSL of today, PyPI's SPIFFE client in
# a virtualenv, and, on a machine with Go ≥ 1.25, SPIRE and go-spiffe.
#
#   sudo scripts/install-peers.sh           install what is missing (a second run takes under a second)
#   scripts/install-peers.sh --check        only say what is missing; exit 1 if anything is
#
# MSM_PEERS_DIR    where the chroot, the programs and the downloads go (default: .peers beside the workspace's Cargo.toml)
# MSM_PEERS_MIRROR Debian mirror for the chroot (default: the one that this machine's apt is configured with)
set -euo pipefail

root=$(cd "$(dirname "$0")/.." && pwd)
peers=${MSM_PEERS_DIR:-$root/.peers}
sid=$peers/sid
spire=$peers/spire
judges=(go-spiffe python)
# Raise this when a list below changes: an old stamp then no longer counts.
stamp=$peers/installed-6

host_packages=(
  ffmpeg
  gstreamer1.0-tools gstreamer1.0-plugins-base gstreamer1.0-plugins-good gstreamer1.0-plugins-bad
  gstreamer1.0-plugins-ugly gstreamer1.0-libav gstreamer1.0-rtsp
  glib-networking openssl # TLS for GStreamer, and to look at ours
  gir1.2-gst-rtsp-server-1.0 gir1.2-gstreamer-1.0 gir1.2-gst-plugins-base-1.0 python3-gi
  python3-venv # for PyPI's SPIFFE client
  nftables # drops packets
  tshark iproute2 procps util-linux debootstrap
  gcc libc6-dev libsrtp2-dev # a program against libsrtp is compiled by its test
  g++ make binutils pkg-config # and programs against libmsm, some of which play by GStreamer and FFmpeg
  libgstreamer1.0-dev libgstreamer-plugins-base1.0-dev libavformat-dev
  valgrind # those run under it, and the instruction-count benches
)
sid_packages=(livemedia-utils vlc-bin vlc-plugin-base vlc-plugin-access-extra openssl)

say() { printf '%s: %s\n' "${0##*/}" "$*"; }

# Whether SPIRE and go-spiffe can be built here.
has_go() {
  local version
  version=$(go env GOVERSION 2>/dev/null) && [[ $version =~ ^go1\.([0-9]+) ]] && ((BASH_REMATCH[1] >= 25))
}

# What a test would miss, one line each; empty when every peer is there.
missing() {
  local tool plugin
  for tool in ffmpeg ffprobe gst-launch-1.0 gst-inspect-1.0 tshark ip nft unshare c++ make pkg-config valgrind readelf; do
    command -v "$tool" >/dev/null || echo "$tool"
  done
  if command -v gst-inspect-1.0 >/dev/null; then
    for plugin in rtspsrc rtspclientsink x264enc avdec_h264 opusenc h264parse; do
      gst-inspect-1.0 --exists "$plugin" 2>/dev/null || echo "GStreamer element $plugin"
    done
  fi
  # python3-gi is Debian's and belongs to Debian's interpreter, whatever python3 comes first in PATH.
  /usr/bin/python3 -c 'import gi; gi.require_version("GstRtspServer", "1.0"); from gi.repository import GstRtspServer' \
    2>/dev/null || echo "gst-rtsp-server for /usr/bin/python3"
  printf '#include <srtp2/srtp.h>\nint main(void) { return (int)srtp_init(); }\n' |
    cc -x c -o /dev/null - -lsrtp2 2>/dev/null || echo "libsrtp2 for cc"
  pkg-config --exists gstreamer-app-1.0 gstreamer-sdp-1.0 libavformat || echo "headers of GStreamer and FFmpeg"
  for tool in openRTSP live555MediaServer cvlc openssl; do
    [[ -x $sid/usr/bin/$tool ]] || echo "$tool in $sid"
  done
  # Without Go, or where Go gets no modules, its tests are skipped, and counted.
  if has_go && [[ ! -e $spire/unavailable ]]; then
    for tool in spire-server spire-agent; do
      [[ -x $spire/$tool ]] || echo "$tool in $spire"
    done
  fi
  for tool in "${judges[@]}"; do
    if can_have "$tool" && [[ ! -e $peers/$tool/unavailable ]]; then
      has_judge "$tool" || echo "$tool, as msm-auth/tests/judges has it, in $peers/$tool"
    fi
  done
}

can_have() { [[ $1 != go-spiffe ]] || has_go; }
has_judge() { "$root/scripts/build-judge.sh" --check "$1" "$peers/$1"; }

if [[ ${1:-} == --check ]]; then
  lacking=$(missing)
  [[ -z $lacking ]] && { say "every peer is there"; exit 0; }
  say "missing:"; sed 's/^/  /' <<<"$lacking"
  exit 1
fi
[[ $# -eq 0 ]] || { say "unknown argument $1 (only --check is known)" >&2; exit 2; }

if [[ -e $stamp && -z $(missing) ]]; then
  say "every peer is there"
  exit 0
fi
if [[ $EUID -ne 0 ]]; then
  say "must be root to install packages and to make a chroot. Run:" >&2
  echo "  sudo --preserve-env=MSM_PEERS_DIR,MSM_PEERS_MIRROR $0" >&2
  exit 1
fi
if ! command -v apt-get >/dev/null; then
  say "this machine has no apt-get; install these by hand: ${host_packages[*]}" >&2
  exit 1
fi

export DEBIAN_FRONTEND=noninteractive
# An own archive directory: a clean-up hook that another apt-get runs cannot take the packages away in mid-install.
mkdir -p "$peers/archives/partial"
apt=(apt-get -q -o "Dir::Cache::archives=$peers/archives" -o APT::Sandbox::User=root -o DPkg::Lock::Timeout=600)

absent=()
for package in "${host_packages[@]}"; do
  dpkg-query -W -f '${db:Status-Status}' "$package" 2>/dev/null | grep -qx installed || absent+=("$package")
done
if ((${#absent[@]})); then
  say "1/5 installing ${#absent[@]} packages: ${absent[*]}"
  "${apt[@]}" update
  "${apt[@]}" install -y --no-install-recommends "${absent[@]}"
else
  say "1/5 packages are installed"
fi

if [[ ! -e $sid/.bootstrapped ]]; then
  mirror=${MSM_PEERS_MIRROR:-$(apt-get indextargets --format '$(REPO_URI)' 'Created-By: Packages' 'Origin: Debian' |
    grep -v -- '-security' | head -n 1 || true)}
  say "2/5 making a Debian sid chroot in $sid"
  rm -rf --one-file-system "$sid"
  mkdir -p "$peers"
  # Without a mirror of this machine's own, debootstrap takes Debian's.
  debootstrap --variant=minbase --include=ca-certificates sid "$sid" ${mirror:+"$mirror"}
  # Packages must not start their daemons in the chroot.
  printf '#!/bin/sh\nexit 101\n' >"$sid/usr/sbin/policy-rc.d"
  chmod +x "$sid/usr/sbin/policy-rc.d"
  touch "$sid/.bootstrapped"
else
  say "2/5 the sid chroot is there"
fi

say "3/5 installing in the chroot: ${sid_packages[*]}"
if ! chroot "$sid" dpkg-query -W "${sid_packages[@]}" >/dev/null 2>&1; then
  cp -L /etc/resolv.conf "$sid/etc/resolv.conf"
  # How this machine's apt reaches its mirror, and: a mirror that is a frozen copy has a Release file past its date. It
  # is signed all the same, and these peers only ever talk to the tests.
  {
    apt-config dump | grep -iE '^Acquire::(http|https)::(proxy|CaInfo|CaPath)' || true
    echo 'Acquire::Check-Valid-Until "false";'
  } >"$sid/etc/apt/apt.conf.d/90host"
  "$root/scripts/in-sid.sh" apt-get -q -o APT::Sandbox::User=root update
  "$root/scripts/in-sid.sh" env DEBIAN_FRONTEND=noninteractive \
    apt-get -q -o APT::Sandbox::User=root install -y --no-install-recommends "${sid_packages[@]}"
  "$root/scripts/in-sid.sh" apt-get clean
fi

if ! has_go; then
  say "4/5 no SPIRE: it is built with Go ≥ 1.25, and there is none in PATH"
elif [[ -x $spire/spire-server && -x $spire/spire-agent ]]; then
  say "4/5 SPIRE is there"
else
  say "4/5 building SPIRE, which takes some minutes"
  mkdir -p "$spire"
  rm -f "$spire/unavailable"
  if ! "$root/scripts/build-spire.sh" "$spire"; then
    say "SPIRE cannot be built: its tests will be skipped. Remove $spire/unavailable to try again" >&2
    echo "SPIRE could not be built by scripts/build-spire.sh" >"$spire/unavailable"
  fi
fi

for judge in "${judges[@]}"; do
  if ! can_have "$judge"; then
    say "5/5 no $judge: it is built with Go ≥ 1.25, and there is none in PATH"
  elif has_judge "$judge"; then
    say "5/5 $judge is there"
  else
    say "5/5 making $judge"
    mkdir -p "$peers/$judge"
    rm -f "$peers/$judge/unavailable"
    status=0
    "$root/scripts/build-judge.sh" "$judge" "$peers/$judge" || status=$?
    if ((status == 3)); then
      say "$judge cannot be fetched: its tests will be skipped. Remove $peers/$judge/unavailable to try again" >&2
      echo "scripts/build-judge.sh could not fetch it" >"$peers/$judge/unavailable"
    elif ((status)); then
      exit "$status"
    fi
  fi
done

lacking=$(missing)
if [[ -n $lacking ]]; then
  say "still missing after the installation:" >&2
  sed 's/^/  /' <<<"$lacking" >&2
  exit 1
fi
rm -rf "$peers/archives"
touch "$stamp"
say "every peer is there"
