//! Frames of real encoders, put together, and decoded.

use std::fs;
use std::io::Write;
use std::process::{Command, Stdio};
use std::time::Duration;

use msm::Frame;
use tempfile::TempDir;
use tokio::time::timeout;

use crate::common::{TestMesh, VIDEO, rtp};

#[path = "../../msm-auth/tests/support/need.rs"]
mod need;

const SOON: Duration = Duration::from_secs(20);

/// Has ffmpeg publish two seconds of a codec, and returns the frames of them.
fn published(codec: &[&str], is_video: bool) -> Option<Vec<Frame>> {
    if Command::new("ffmpeg").arg("-version").output().is_err() {
        need::skip("there is no ffmpeg", true);
        return None;
    }
    let mesh = TestMesh::start("workers: 1");
    let url = mesh.url("in/encoder");
    let source =
        if is_video { "testsrc2=size=320x240:rate=25" } else { "sine=frequency=440:sample_rate=48000" };
    let mut command = Command::new("ffmpeg");
    command
        .args(["-nostdin", "-loglevel", "error", "-re", "-f", "lavfi", "-i", source, "-t", "2"])
        .args(codec);
    command.args(["-f", "rtsp", "-rtsp_transport", "tcp", &url]).stdin(Stdio::null()).stderr(Stdio::piped());
    let ffmpeg = command.spawn().unwrap();
    mesh.wait_value("msm_streams ", 1.0);
    let frames = mesh.block_on(async {
        let mut frames = mesh.mesh.open(&url).await.unwrap().frames();
        let mut all = Vec::new();
        while let Some(frame) = timeout(SOON, frames.next()).await.unwrap().unwrap() {
            all.push(frame);
        }
        assert_eq!(frames.left_out(0), 0);
        all
    });
    let output = ffmpeg.wait_with_output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    assert!(frames.iter().all(|frame| !frame.after_loss && frame.track == 0));
    assert!(frames[0].keyframe);
    Some(frames)
}

/// How many frames ffmpeg decodes of a file.
fn decoded(bytes: &[u8], format: &str) -> usize {
    let dir = TempDir::new().unwrap();
    let file = dir.path().join("stream");
    fs::write(&file, bytes).unwrap();
    let mut command = Command::new("ffmpeg");
    command.args(["-nostdin", "-loglevel", "warning", "-xerror", "-f", format, "-i"]).arg(&file);
    let output = command.args(["-f", "framemd5", "-"]).output().unwrap();
    let errors = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(output.status.success(), "{errors}");
    String::from_utf8_lossy(&output.stdout).lines().filter(|line| !line.starts_with('#')).count()
}

fn concatenated(frames: &[Frame]) -> Vec<u8> {
    frames.iter().flat_map(|frame| frame.data.clone()).collect()
}

/// As IVF has them: a header of the file, and one of each frame.
fn ivf(frames: &[Frame], fourcc: &[u8; 4]) -> Vec<u8> {
    let mut file = [b"DKIF", &[0, 0, 32, 0][..], fourcc].concat();
    file.extend_from_slice(&[64, 1, 240, 0, 25, 0, 0, 0, 1, 0, 0, 0]);
    file.extend_from_slice(&(frames.len() as u32).to_le_bytes());
    file.extend_from_slice(&[0; 4]);
    for (number, frame) in frames.iter().enumerate() {
        file.write_all(&(frame.data.len() as u32).to_le_bytes()).unwrap();
        file.extend_from_slice(&(number as u64).to_le_bytes());
        file.extend_from_slice(&frame.data);
    }
    file
}

#[test]
fn pictures_of_h264_are_whole() {
    // Several slices a picture, and pieces of them.
    let codec =
        ["-c:v", "libx264", "-preset", "ultrafast", "-tune", "zerolatency", "-g", "25", "-slices", "3"];
    let Some(frames) = published(&codec, true) else { return };
    assert!((40..=50).contains(&frames.len()), "{}", frames.len());
    assert!(frames.windows(2).all(|pair| pair[1].timestamp.wrapping_sub(pair[0].timestamp) == 3600));
    assert_eq!(decoded(&concatenated(&frames), "h264"), frames.len());
}

#[test]
fn pictures_of_h265_are_whole() {
    let codec =
        ["-c:v", "libx265", "-preset", "ultrafast", "-g", "25", "-x265-params", "log-level=none:bframes=0"];
    let Some(frames) = published(&codec, true) else { return };
    assert!((40..=50).contains(&frames.len()), "{}", frames.len());
    assert_eq!(decoded(&concatenated(&frames), "hevc"), frames.len());
}

#[test]
fn pictures_of_vp8_and_vp9_are_whole() {
    for (codec, fourcc) in [("libvpx", b"VP80"), ("libvpx-vp9", b"VP90")] {
        let codec =
            ["-c:v", codec, "-deadline", "realtime", "-cpu-used", "8", "-g", "25", "-lag-in-frames", "0"];
        let codec = [&codec[..], &["-strict", "experimental"]].concat();
        let Some(frames) = published(&codec, true) else { return };
        assert!((40..=50).contains(&frames.len()), "{}", frames.len());
        assert_eq!(decoded(&ivf(&frames, fourcc), "ivf"), frames.len());
    }
}

#[test]
fn units_of_aac_decode_behind_the_header_that_they_need() {
    let Some(frames) = published(&["-c:a", "aac", "-b:a", "128k"], false) else { return };
    assert!((80..=95).contains(&frames.len()), "{}", frames.len());
    assert!(frames.windows(2).all(|pair| pair[1].timestamp.wrapping_sub(pair[0].timestamp) == 1024));
    // ADTS: AAC-LC, 48 kHz, one channel.
    let adts = |frame: &Frame| {
        let length = frame.data.len() + 7;
        let (high, low) = ((length >> 11) as u8 & 3, (length << 5) as u8 & 0xe0);
        [&[0xff, 0xf1, 0x4c, 0x40 | high, (length >> 3) as u8, low | 0x1f, 0xfc], &frame.data[..]].concat()
    };
    let file: Vec<u8> = frames.iter().flat_map(adts).collect();
    assert!(decoded(&file, "aac") + 1 >= frames.len());
}

#[test]
fn a_packet_of_opus_is_a_frame() {
    let Some(frames) = published(&["-c:a", "libopus"], false) else { return };
    assert!((90..=101).contains(&frames.len()), "{}", frames.len());
    assert!(frames.windows(2).all(|pair| pair[1].timestamp.wrapping_sub(pair[0].timestamp) == 960));
}

#[test]
fn what_is_not_whole_is_left_out_and_said() {
    let mesh = TestMesh::start("workers: 1");
    let url = mesh.url("in/lossy");
    mesh.block_on(async {
        let publisher = mesh.mesh.publish(&url, VIDEO).await.unwrap();
        let mut frames = mesh.mesh.open(&url).await.unwrap().frames();
        // Two pieces each; of the third frame one is missing.
        for number in (0..100u16).filter(|number| *number != 4) {
            let mut packet = rtp(number, u32::from(number / 2) * 3000, 7, 0x7c, 200);
            // The first slice of a keyframe, and the rest of it.
            packet[13] = if number % 2 == 0 { 0x85 } else { 0x45 };
            packet[14] = 0x88;
            packet[1] = if number % 2 == 0 { 96 } else { 0x80 | 96 };
            publisher.ready().await.unwrap();
            publisher.send(0, packet).unwrap();
        }
        drop(publisher);
        let mut all = Vec::new();
        while let Some(frame) = timeout(SOON, frames.next()).await.unwrap().unwrap() {
            all.push((frame.timestamp, frame.after_loss, frame.data.len()));
        }
        assert_eq!((all.len(), frames.left_out(0)), (49, 1));
        let steps = all.windows(2).map(|pair| pair[1].0.wrapping_sub(pair[0].0));
        assert!(steps.enumerate().all(|(place, step)| step == if place == 1 { 6000 } else { 3000 }));
        assert!(
            all.iter()
                .enumerate()
                .all(|(place, frame)| frame.1 == (place == 2) && frame.2 == 4 + 1 + 2 * 186)
        );
    });
}
