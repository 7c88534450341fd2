//! What servers serve and publishers publish.

use crate::lab::Lab;
use std::path::PathBuf;
use std::process::Command;
use std::time::Duration;

/// Makes a file of 20 s with ffmpeg; `options` are separated by white space.
fn ffmpeg(lab: &Lab, name: &str, options: &str) -> PathBuf {
    let file = lab.file(name);
    let mut command = Command::new("ffmpeg");
    command.args(["-v", "error", "-nostdin", "-y"]).args(options.split_whitespace());
    command.args(["-t", "20"]).arg(&file);
    lab.run("media", command, Duration::from_secs(60)).success();
    file
}

/// A Matroska file, H.264 (25 frames/s, a key frame a second) and Opus, whose pictures are grey and say their own time:
/// luma 16 + 10 × seconds.
pub(crate) fn recording(lab: &Lab) -> PathBuf {
    grey(lab, "libopus")
}

/// The same with AAC: the Opus that live555 makes of a Matroska file does not decode.
pub(crate) fn recording_for_live555(lab: &Lab) -> PathBuf {
    grey(lab, "aac")
}

fn grey(lab: &Lab, audio: &str) -> PathBuf {
    let options = format!(
        "-f lavfi -i color=gray:s=160x120:r=25,format=yuv420p,geq=lum='16+floor(10*T)':cb=128:cr=128
         -f lavfi -i sine=440:r=48000
         -c:v libx264 -preset veryfast -qp 10 -bf 0 -g 25 -c:a {audio} -b:a 32k"
    );
    ffmpeg(lab, "recording.mkv", &options)
}

/// A Matroska file with a moving test picture and a tone, for publishers.
pub(crate) fn programme(lab: &Lab) -> PathBuf {
    let options = "-f lavfi -i testsrc2=s=320x240:r=25 -f lavfi -i sine=440:r=48000
        -c:v libx264 -preset ultrafast -tune zerolatency -profile:v baseline -g 25 -b:v 400k -pix_fmt yuv420p
        -c:a libopus -b:a 32k";
    ffmpeg(lab, "programme.mkv", options)
}

/// A WAV file, 8000 samples a second, in which the sample at time t is 1000 × t. live555 takes no chunks but the two
/// that matter, hence the flag.
pub(crate) fn ramp(lab: &Lab) -> PathBuf {
    let options = "-f lavfi -i aevalsrc=exprs='1000*t/32768':s=8000 -c:a pcm_s16le -fflags +bitexact";
    ffmpeg(lab, "ramp.wav", options)
}
