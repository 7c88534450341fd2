//! Streams between programs in C and Rust: the examples, and what comes by each way.
#![allow(missing_docs, clippy::expect_used, clippy::panic, clippy::indexing_slicing, clippy::unwrap_used)]

#[path = "../../msm-auth/tests/support/need.rs"]
mod need;
mod support;

use std::io::Read;
use std::ops::RangeInclusive;
use std::process::{Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use msm::Error;
use msm::blocking::{Mesh, Reader};
use support::{Installed, run};

const VIDEO: &str = "v=0\r\no=- 1 1 IN IP4 127.0.0.1\r\ns=test\r\nt=0 0\r\n\
    m=video 0 RTP/AVP 96\r\na=rtpmap:96 H264/90000\r\na=control:trackID=0\r\n";
const SOON: Option<Duration> = Some(Duration::from_secs(10));

/// A mesh that serves on loopback, and its address.
fn serving(more: &str) -> (Mesh, String) {
    let ports = free_pair();
    let configuration =
        format!("workers: 1\nlisteners: [{{name: test, address: \"127.0.0.1:0\", ports: {ports}}}]\n{more}");
    let mesh = Mesh::start(msm::Mesh::builder().config_text(&configuration).unwrap()).unwrap();
    let address = mesh.serve().unwrap().addresses()[0].to_string();
    (mesh, address)
}

/// The first of two neighbouring ports that nobody has.
fn free_pair() -> u16 {
    (0..1000)
        .find_map(|_| {
            let first = std::net::UdpSocket::bind("127.0.0.1:0").ok()?;
            let port = first.local_addr().ok()?.port();
            (port % 2 == 0 && std::net::UdpSocket::bind(("127.0.0.1", port + 1)).is_ok()).then_some(port)
        })
        .expect("two ports are free")
}

fn wait_until(what: &str, mut is: impl FnMut() -> bool) {
    let deadline = Instant::now() + Duration::from_secs(10);
    while !is() {
        assert!(Instant::now() < deadline, "{what}");
        thread::sleep(Duration::from_millis(10));
    }
}

fn packet(number: u16) -> Vec<u8> {
    let mut packet = vec![0x80, 0xe0];
    packet.extend_from_slice(&number.to_be_bytes());
    packet.extend_from_slice(&(u32::from(number) * 3000).to_be_bytes());
    packet.extend_from_slice(&[0, 0, 0, 9, 0x65, 0x88]);
    // Of all sizes there are, and each told from the others.
    packet.resize(14 + usize::from(number * 37 % 1300), number as u8);
    packet
}

fn payloads(mut reader: Reader, count: usize) -> Vec<Vec<u8>> {
    (0..count).map(|_| reader.recv(SOON).unwrap().unwrap().payload.to_vec()).collect()
}

#[test]
fn what_comes_is_the_same_by_every_way() {
    let Some(installed) = Installed::get() else { return };
    let dump = installed.compile("dump.c", &[]);
    let (home, address) = serving("");
    let (_proxy, proxied) = serving(&format!(
        "routes: [{{name: all, match: {{url: \"rtsp://*/{{rest...}}\"}}, backends: [{{cluster: home}}]}}]\n\
         clusters: {{home: {{endpoints: [\"rtsp://{address}\"]}}}}\n"
    ));
    let publisher = home.publish(&format!("rtsp://{address}/in/same"), VIDEO).unwrap();
    let count = 300;
    let ways = [
        // In this process; from a mesh of its own; through a proxy.
        home.open(&format!("rtsp://{address}/in/same")).unwrap(),
        Mesh::start(msm::Mesh::builder()).unwrap().open(&format!("rtsp://{address}/in/same")).unwrap(),
        Mesh::start(msm::Mesh::builder()).unwrap().open(&format!("rtsp://{proxied}/in/same")).unwrap(),
    ];
    let in_c = [&address, &proxied].map(|address| {
        let mut command = dump.command();
        command.arg(format!("rtsp://{address}/in/same")).arg(count.to_string());
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap()
    });
    wait_until("all read", || publisher.readers() == 4);
    thread::sleep(Duration::from_millis(200));
    let sent: Vec<_> = (0..count as u16).map(packet).collect();
    for packet in &sent {
        publisher.send(0, packet.clone()).unwrap();
        thread::sleep(Duration::from_millis(1));
    }
    let wanted: Vec<_> = sent.iter().map(|packet| packet[12..].to_vec()).collect();
    for (way, reader) in ways.into_iter().enumerate() {
        assert!(payloads(reader, count) == wanted, "way {way}");
    }
    for child in in_c {
        let output = child.wait_with_output().unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        let mut bytes = &output.stdout[..];
        let mut came = Vec::new();
        let mut length = [0; 4];
        while bytes.read_exact(&mut length).is_ok() {
            let (payload, rest) = bytes.split_at(u32::from_ne_bytes(length) as usize);
            came.push(payload.to_vec());
            bytes = rest;
        }
        assert!(came == wanted);
    }
}

/// Checks lines of a reader example: a tone's packets one after the other.
fn is_tone(lines: &str, count: RangeInclusive<usize>) {
    let stamps: Vec<u32> = lines
        .lines()
        .map(|line| {
            let words: Vec<_> = line.split(' ').collect();
            assert_eq!(
                (words[0], words[1], words[2], words[4]),
                ("track", "0", "timestamp", "160"),
                "{line}"
            );
            words[3].parse().unwrap()
        })
        .collect();
    assert!(count.contains(&stamps.len()), "{}", stamps.len());
    assert!(stamps.windows(2).all(|pair| pair[1].wrapping_sub(pair[0]) == 160), "{stamps:?}");
}

#[test]
fn the_examples_in_c_and_python_publish_and_read() {
    let Some(installed) = Installed::get() else { return };
    let publisher = installed.compile("../../../examples/c/publisher.c", &["-lm"]);
    let reader = installed.compile("../../../examples/c/reader.c", &[]);
    let (mesh, address) = serving("");
    let url = format!("rtsp://{address}/in/tone");
    let mut publishing = publisher.command().arg(&url).arg("4").spawn().unwrap();
    wait_until("it publishes", || !matches!(mesh.open(&url), Err(Error::NotPublished { .. })));
    let reading = reader.command().arg(&url).stdout(Stdio::piped()).spawn().unwrap();
    let python = concat!(env!("CARGO_MANIFEST_DIR"), "/../examples/python/reader.py");
    is_tone(
        &run(reader.environment(Command::new("/usr/bin/python3").arg(python).arg(&url).arg("20"))),
        20..=20,
    );
    assert!(publishing.wait().unwrap().success());
    // It reads until the publisher has gone.
    let read = reading.wait_with_output().unwrap();
    assert!(read.status.success());
    is_tone(&String::from_utf8(read.stdout).unwrap(), 50..=200);
    // What goes wrong is said.
    let nobody = reader.command().arg(format!("rtsp://{address}/in/nobody")).output().unwrap();
    let said = String::from_utf8_lossy(&nobody.stderr).into_owned();
    assert!(!nobody.status.success() && said.contains("upstream_status") && said.contains("404"), "{said}");
}

/// Whether these libraries, and ffmpeg, are there. Says so if not.
fn have(libraries: &[&str]) -> bool {
    let found = |command: &mut Command| command.output().is_ok_and(|output| output.status.success());
    let missing = libraries
        .iter()
        .find(|library| !found(Command::new("pkg-config").args(["--exists", library])))
        .map(|library| format!("pkg-config knows no {library}"))
        .or_else(|| {
            (!found(Command::new("ffmpeg").arg("-version"))).then(|| "there is no ffmpeg".to_owned())
        });
    if let Some(missing) = &missing {
        need::skip(missing, true);
    }
    missing.is_none()
}

/// What pkg-config says of libraries that are not ours.
fn flags(libraries: &[&str]) -> Vec<String> {
    let flags = run(Command::new("pkg-config").args(["--cflags", "--libs"]).args(libraries));
    // Headers that are not ours are not warned of.
    flags.split_whitespace().map(|flag| flag.replacen("-I", "-isystem", 1)).collect()
}

/// Has ffmpeg publish pictures and sound until it is ended.
fn pictures(url: &str) -> std::process::Child {
    let mut command = Command::new("ffmpeg");
    command.args([
        "-nostdin",
        "-loglevel",
        "error",
        "-re",
        "-f",
        "lavfi",
        "-i",
        "testsrc2=size=320x240:rate=25",
    ]);
    command.args(["-f", "lavfi", "-i", "sine=sample_rate=48000", "-c:v", "libx264", "-preset", "ultrafast"]);
    command.args(["-tune", "zerolatency", "-g", "25", "-c:a", "libopus", "-t", "60"]);
    command.args(["-f", "rtsp", "-rtsp_transport", "tcp", url]).stdin(Stdio::null()).spawn().unwrap()
}

fn in_pictures(source: &str, libraries: &[&str], arguments: &[&str]) -> Option<String> {
    let installed = Installed::get()?;
    if !have(libraries) {
        return None;
    }
    let flags = flags(libraries);
    let flags: Vec<_> = flags.iter().map(String::as_str).collect();
    let program = installed.compile(&format!("../../../examples/cpp/{source}"), &flags);
    let (mesh, address) = serving("");
    let url = format!("rtsp://{address}/in/pictures");
    let mut ffmpeg = pictures(&url);
    wait_until("it publishes", || !matches!(mesh.open(&url), Err(Error::NotPublished { .. })));
    let said = run(program.command().arg(&url).args(arguments));
    ffmpeg.kill().unwrap();
    ffmpeg.wait().unwrap();
    Some(said)
}

#[test]
fn a_gstreamer_pipeline_plays_what_the_mesh_has() {
    // The sink ends the pipeline when it has so many pictures.
    let libraries = ["gstreamer-app-1.0", "gstreamer-sdp-1.0"];
    in_pictures("gstreamer.cpp", &libraries, &["fakesink num-buffers=50"]);
}

#[test]
fn ffmpeg_s_libraries_read_what_the_mesh_has() {
    let libraries = ["libavformat", "libavcodec", "libavutil"];
    let Some(said) = in_pictures("ffmpeg.cpp", &libraries, &["100"]) else { return };
    let frames = |codec: &str| said.lines().filter(|line| line.starts_with(codec)).count();
    assert!(frames("h264 ") >= 20 && frames("opus ") >= 40, "{said}");
    assert!(said.contains("a keyframe"), "{said}");
}
