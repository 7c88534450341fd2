#!/usr/bin/env bash
# Installs msm-proxy and libmsm with its headers, for `make install`.
#
#   scripts/install.sh PREFIX STATIC_LIBRARY PROGRAM
#
# DESTDIR   where PREFIX is below while a package is made
set -euo pipefail

[[ $# -eq 3 ]] || { sed -n '2,6s/^# \{0,1\}//p' "$0" >&2; exit 2; }
root=$(cd "$(dirname "$0")/.." && pwd)
prefix=$1 archive=$2 program=$3
# Not every shell expands it in `make install PREFIX=~/x`.
# shellcheck disable=SC2088 # it is what was written
[[ $prefix != "~/"* ]] || prefix=$HOME/${prefix#"~/"}
[[ $prefix == /* ]] || prefix=$PWD/$prefix
if [[ $prefix =~ [[:space:]] ]]; then
  echo "${0##*/}: PREFIX is \"$prefix\": pkg-config takes no spaces" >&2
  exit 2
fi
into=${DESTDIR:-}$prefix
version=$(sed -n '/^\[workspace.package\]/,/^\[/s/^version = "\(.*\)"$/\1/p' "$root/Cargo.toml")
soname=libmsm.so.${version%%.*}
map=$root/msm-ffi/libmsm.map
# What Rust's standard library asks for (rustc --print native-static-libs).
libs=(-lgcc_s -lutil -lrt -lpthread -lm -ldl -lc)

install -d "$into/bin" "$into/lib/pkgconfig" "$into/include"
install -m 755 "$program" "$into/bin/msm-proxy"
install -m 644 "$root/msm-ffi/include/msm.h" "$root/msm-ffi/include/msm.hpp" "$into/include/"
install -m 644 "$archive" "$into/lib/libmsm.a"

# Linked here and not by Rust: only so its symbols have versions.
undefined=$(sed -n 's/^ *\(msm_[a-z_]*\);$/-Wl,-u,\1/p' "$map")
# shellcheck disable=SC2086 # one argument a word
"${CC:-cc}" -shared -o "$into/lib/libmsm.so.$version" -Wl,-soname,"$soname" -Wl,--version-script="$map" \
  -Wl,--gc-sections -Wl,-z,defs -Wl,-z,relro,-z,now -Wl,--as-needed $undefined "$into/lib/libmsm.a" "${libs[@]}"
ln -sf "libmsm.so.$version" "$into/lib/$soname"
ln -sf "$soname" "$into/lib/libmsm.so"

cat >"$into/lib/pkgconfig/msm.pc" <<EOF
prefix=$prefix
libdir=\${prefix}/lib
includedir=\${prefix}/include

Name: msm
Description: Media Streaming Mesh: media streams by URL, routed, authenticated and protected
URL: https://github.com/media-streaming-mesh/msm
Version: $version
Libs: -L\${libdir} -lmsm
Libs.private: ${libs[*]}
Cflags: -I\${includedir}
EOF

# Where the loader looks anyway, it has to be told that there is something new.
found="by LD_LIBRARY_PATH=$prefix/lib, or a path that is linked in: -Wl,-rpath,$prefix/lib"
if [[ -z ${DESTDIR:-} && $EUID -eq 0 && ( $prefix == /usr || $prefix == /usr/local ) ]]; then
  ldconfig
  found="where it is"
fi

cat <<EOF
Installed in $into:
  bin/msm-proxy
  lib/libmsm.so.$version, lib/libmsm.a, lib/pkgconfig/msm.pc
  include/msm.h, include/msm.hpp
Programs are built with PKG_CONFIG_PATH=$prefix/lib/pkgconfig pkg-config --cflags --libs msm, and find the library when they run
$found
EOF
