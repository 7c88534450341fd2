//! Publishes a tone, as G.711 (`RFC 3551 §4.5.14`): `cargo run --example publisher -- URL [SECONDS]`.
//!
//! A player hears it at the URL: `ffplay -rtsp_transport tcp URL`.

use std::f64::consts::TAU;
use std::time::Duration;

const SDP: &str = "v=0\r\no=- 1 1 IN IP4 0.0.0.0\r\ns=tone\r\nt=0 0\r\n\
    m=audio 0 RTP/AVP 0\r\na=rtpmap:0 PCMU/8000\r\na=control:trackID=0\r\n";
/// Samples of 20 ms.
const SAMPLES: u32 = 160;

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let mut arguments = std::env::args().skip(1);
    let url = arguments.next().ok_or("usage: publisher URL [SECONDS]")?;
    let seconds: u32 = arguments.next().map_or(Ok(3600), |seconds| seconds.parse())?;
    let mesh = msm::Mesh::builder().build().await?;
    let publisher = mesh.publish(&url, SDP).await?;
    let mut clock = tokio::time::interval(Duration::from_millis(20));
    for number in 0..seconds * 50 {
        clock.tick().await;
        let timestamp = number * SAMPLES;
        // Version 2, payload type 0, one source (RFC 3550 §5.1).
        let mut packet = vec![0x80, 0];
        packet.extend_from_slice(&(number as u16).to_be_bytes());
        packet.extend_from_slice(&timestamp.to_be_bytes());
        packet.extend_from_slice(&0x6d73_6d00_u32.to_be_bytes());
        packet.extend((timestamp..timestamp + SAMPLES).map(|at| {
            let wave = (TAU * 440.0 * f64::from(at) / 8000.0).sin();
            mu_law((8000.0 * wave) as i16)
        }));
        publisher.send(0, packet)?;
    }
    mesh.shutdown(Duration::ZERO).await;
    Ok(())
}

/// A sample of 16 bits as one of eight (ITU-T G.711).
fn mu_law(sample: i16) -> u8 {
    let magnitude = u32::from(sample.unsigned_abs()).min(32_635) + 0x84;
    let exponent = 24 - magnitude.leading_zeros();
    let mantissa = magnitude >> (exponent + 3) & 0x0f;
    let sign = if sample < 0 { 0x80 } else { 0 };
    !(sign | (exponent << 4 | mantissa) as u8)
}
