//! A mixer bus: reads streams of G.711, and publishes their sum: `cargo run --example mixer -- OUTPUT INPUT...`.
//!
//! Each input is read by a task of its own, which leaves the newest 20 ms where the bus finds them; who is late or has gone is silent.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

const SDP: &str = "v=0\r\no=- 1 1 IN IP4 0.0.0.0\r\ns=mix\r\nt=0 0\r\n\
    m=audio 0 RTP/AVP 0\r\na=rtpmap:0 PCMU/8000\r\na=control:trackID=0\r\n";
/// Samples of 20 ms.
const SAMPLES: usize = 160;

/// What an input has for the next 20 ms.
type Slot = Arc<Mutex<Option<bytes::Bytes>>>;

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let mut arguments = std::env::args().skip(1);
    let output = arguments.next().ok_or("usage: mixer OUTPUT INPUT...")?;
    let mesh = msm::Mesh::builder().build().await?;
    let mut slots = Vec::new();
    for input in arguments {
        let mut reader = mesh.open(&input).await?;
        let slot = Slot::default();
        slots.push(Arc::clone(&slot));
        tokio::spawn(async move {
            while let Ok(Some(packet)) = reader.next().await {
                *slot.lock().unwrap_or_else(PoisonError::into_inner) = Some(packet.payload);
            }
            eprintln!("{input} is over: {:?}", reader.end_cause());
        });
    }
    let publisher = mesh.publish(&output, SDP).await?;
    let mut clock = tokio::time::interval(Duration::from_millis(20));
    for number in 0_u32.. {
        clock.tick().await;
        let mut sum = [0_i32; SAMPLES];
        for slot in &slots {
            let payload = slot.lock().unwrap_or_else(PoisonError::into_inner).take();
            for (sum, byte) in sum.iter_mut().zip(payload.iter().flatten()) {
                *sum += i32::from(linear(*byte));
            }
        }
        let mut packet = vec![0x80, 0];
        packet.extend_from_slice(&(number as u16).to_be_bytes());
        packet.extend_from_slice(&(number.wrapping_mul(SAMPLES as u32)).to_be_bytes());
        packet.extend_from_slice(&0x6d73_6d01_u32.to_be_bytes());
        packet.extend(sum.map(|sum| mu_law(sum.clamp(i16::MIN.into(), i16::MAX.into()) as i16)));
        if publisher.send(0, packet).is_err() {
            break;
        }
    }
    Ok(())
}

/// A sample of eight bits as one of 16 (ITU-T G.711).
fn linear(byte: u8) -> i16 {
    let byte = !byte;
    let magnitude = (((i16::from(byte & 0x0f) << 3) + 0x84) << (byte >> 4 & 7)) - 0x84;
    if byte & 0x80 == 0 { magnitude } else { -magnitude }
}

/// The other way.
fn mu_law(sample: i16) -> u8 {
    let magnitude = u32::from(sample.unsigned_abs()).min(32_635) + 0x84;
    let exponent = 24 - magnitude.leading_zeros();
    let mantissa = magnitude >> (exponent + 3) & 0x0f;
    let sign = if sample < 0 { 0x80 } else { 0 };
    !(sign | (exponent << 4 | mantissa) as u8)
}
