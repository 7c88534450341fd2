#!/usr/bin/env bash
# Makes the clip that `msm-proxy demo` and the tests play: msm-proxy/assets/demo.rtpdump (the format of rtptools'
# rtpdump) and demo.sdp. 8 s of H.264 (320x180, 25 frames/s, one closed group of pictures a second, no B frames,
# parameter sets before each IDR) and Opus (48 kHz, mono, 20 ms): a whole number of frames of both, so it loops without a
# seam when timestamps go on by 720000 (video) and 384000 (audio).
#
#   scripts/make-clip.sh            make it, then check it
#   scripts/make-clip.sh --verify   only check what is in the repository: send it to ffmpeg, which must decode every
#                                   frame of two loops without an error
set -euo pipefail

root=$(cd "$(dirname "$0")/.." && pwd)
assets=$root/msm-proxy/assets
python=/usr/bin/python3
seconds=8
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

if [[ ${1:-} != --verify ]]; then
  # One thread and no scene cuts: the same encoder version gives the same bytes. Eight groups of pictures are an even
  # number, so the last IDR and the first one after the seam have different idr_pic_id, as H.264 §7.4.3 asks.
  ffmpeg -v error -nostdin -f lavfi -i "testsrc2=size=320x180:rate=25:duration=$seconds" -pix_fmt yuv420p \
    -c:v libx264 -profile:v main -preset veryslow -tune animation -threads 1 -bf 0 -refs 1 -g 25 -keyint_min 25 \
    -sc_threshold 0 -flags +cgop -b:v 230k -maxrate 230k -bufsize 230k -x264-params repeat-headers=1:aud=0:slices=1 \
    -bsf:v filter_units=remove_types=6 -map_metadata -1 -f h264 "$work/video.h264"
  # A chord whose notes and slow swell have whole cycles in the clip. It is encoded three times over and the middle is
  # taken: there the codec's state at the end is the one that the beginning expects.
  ffmpeg -v error -nostdin -f lavfi -i "aevalsrc=exprs='(0.5+0.4*cos(2*PI*t/4))*(0.3*sin(2*PI*220*t)+0.2*sin(2*PI*277.25*t)+0.2*sin(2*PI*329.75*t))':s=48000:d=$((3 * seconds))" \
    -c:a libopus -b:a 24k -vbr off -ac 1 -frame_duration 20 -application audio -fflags +bitexact -map_metadata -1 \
    -f ogg "$work/audio.ogg"
  "$python" "$root/scripts/clip.py" pack "$work/video.h264" "$work/audio.ogg" "$seconds" \
    "$assets/demo.rtpdump" "$assets/demo.sdp"
fi

# The judge is ffmpeg's own depacketiser and decoders, fed over loopback at the clip's own pace.
size=$(stat -c %s "$assets/demo.rtpdump")
((size <= 400 * 1024)) || { echo "demo.rtpdump has $size bytes, more than 400 KiB" >&2; exit 1; }
video=$((20000 + RANDOM % 5000 * 2))
audio=$((video + 10002))
sed -e 's/^c=IN.*/c=IN IP4 127.0.0.1/' -e '/^a=control/d' -e "s/^m=video 0/m=video $video/" -e "s/^m=audio 0/m=audio $audio/" \
  "$assets/demo.sdp" >"$work/in.sdp"
frames=$((2 * seconds * 25))
timeout 60 ffmpeg -v error -nostdin -protocol_whitelist file,rtp,udp -i "$work/in.sdp" -frames:v "$frames" \
  -frames:a $((2 * seconds * 50)) -f framecrc "$work/frames" 2>"$work/errors" &
reader=$!
# The two extra seconds let ffmpeg, which opens its sockets late, still get all the frames that it waits for.
"$python" "$root/scripts/clip.py" send "$assets/demo.rtpdump" "$video" "$audio" $((2 * seconds + 4)) &
sender=$!
wait "$reader" || true
kill "$sender" 2>/dev/null || true
got=$(grep -c '^0,' "$work/frames" || true)
if [[ -s $work/errors || $got -ne $frames ]]; then
  echo "demo.rtpdump: ffmpeg decoded $got of $frames frames and said:" >&2
  cat "$work/errors" >&2
  exit 1
fi
echo "demo.rtpdump: $size bytes; ffmpeg decoded $got frames of two loops without an error"
