//! Reads a stream and says what comes: `cargo run --example reader -- URL`.

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let url = std::env::args().nth(1).ok_or("usage: reader URL")?;
    let mesh = msm::Mesh::builder().build().await?;
    let mut reader = mesh.open(&url).await?;
    while let Some(packet) = reader.next().await? {
        println!("track {} timestamp {} {} bytes", packet.track, packet.timestamp, packet.payload.len());
    }
    Ok(())
}
