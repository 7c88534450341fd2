//! `msm-proxy demo`: a source, two members with an encrypted hop between them, and a reader, in one process, over real
//! sockets.

mod clip;
mod members;
mod report;
mod source;

use std::io::Write;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use msm::Mesh;

use members::Members;
use report::Report;

/// How often the members get new certificates, and the hop new keys.
const ROTATION: u64 = 10;

/// What `demo` was asked for.
pub(crate) struct DemoOptions {
    pub(crate) seconds: Option<u64>,
    pub(crate) json: bool,
    pub(crate) address: SocketAddr,
}

/// Runs until the time is over or `stop` completes.
pub(crate) async fn run(
    options: DemoOptions,
    stop: impl Future<Output = ()>,
) -> Result<(), Box<dyn std::error::Error>> {
    let clip = clip::load()?;
    let members = members::start(options.address).await?;
    let url = format!("rtsp://{}/demo", members.address);
    let publisher = members.studio.publish(&url, &clip::description()).await?;
    // A program outside the mesh: it reads by plain RTSP.
    let player = Mesh::builder().workers(1).build().await?;
    let result = tokio::select! {
        sent = source::run(&publisher, &clip) => sent.map_err(Into::into),
        read = read(&members, &player, &url, &options) => read,
        () = stop => Ok(()),
    };
    drop(publisher);
    player.shutdown(Duration::from_secs(1)).await;
    members.shutdown().await;
    result
}

/// The hop as the edge member sees it: who is at its ends, and what protects it.
async fn hop(members: &Members) -> Option<serde_json::Value> {
    let status = members.edge.status().await;
    let hop = status.hops.into_iter().next()?;
    Some(serde_json::json!({
        "edge": status.identity,
        "studio": hop.peer,
        "tls": hop.tls,
        "srtp": hop.srtp,
        "epoch": hop.epoch,
        "way": hop.way,
        "max_datagram": hop.max_datagram,
        "rtt_ms": hop.rtt_ms,
    }))
}

fn describe(hop: &serde_json::Value) -> String {
    let text = |key: &str| hop.get(key).and_then(serde_json::Value::as_str).unwrap_or("-").to_owned();
    let number = |key: &str| hop.get(key).map(ToString::to_string).unwrap_or_default();
    format!(
        "  studio  {}\n  edge    {}\n  hop     {}, media {} by {}, up to {} bytes, key epoch {}\n",
        text("studio"),
        text("edge"),
        text("tls"),
        text("srtp"),
        text("way"),
        number("max_datagram"),
        number("epoch"),
    )
}

async fn read(
    members: &Members,
    player: &Mesh,
    url: &str,
    options: &DemoOptions,
) -> Result<(), Box<dyn std::error::Error>> {
    let mut out = std::io::stdout();
    if !options.json {
        writeln!(
            out,
            "source ─► studio ═══ encrypted mesh hop ═══► edge ─► reader      (all on this machine)\n"
        )?;
    }
    let mut reader = player.open(url).await?;
    let mut shown = hop(members).await;
    if let (false, Some(hop)) = (options.json, &shown) {
        writeln!(out, "{}", describe(hop))?;
        writeln!(out, "Watch it yourself:   ffplay {url}   or   vlc {url}")?;
        writeln!(out, "Ctrl-C ends.\n")?;
    }
    let mut report = Report::new(&[90_000, 48_000]);
    let mut tick =
        tokio::time::interval_at((Instant::now() + Duration::from_secs(1)).into(), Duration::from_secs(1));
    let mut seconds = 0;
    loop {
        tokio::select! {
            packet = reader.next() => match packet? {
                Some(packet) => report.handle(Instant::now(), &packet),
                None => return Err("the stream ended".into()),
            },
            _ = tick.tick() => {
                let second = report.second();
                if options.json {
                    let mut object = serde_json::to_value(&second)?;
                    if let (Some(object), Some(hop)) = (object.as_object_mut(), hop(members).await) {
                        object.insert("hop".to_owned(), hop);
                    }
                    writeln!(out, "{object}")?;
                } else {
                    writeln!(out, "{}", second.line())?;
                }
                out.flush()?;
                seconds += 1;
                if seconds % ROTATION == 0 {
                    members.rotate()?;
                }
                if !options.json && seconds % ROTATION == 1 && seconds > 1 {
                    let now = hop(members).await;
                    if let Some(hop) = now.as_ref().filter(|_| now != shown) {
                        writeln!(out, "        new certificates: key epoch {}", hop.get("epoch").unwrap_or_default())?;
                    }
                    shown = now;
                }
                if options.seconds.is_some_and(|limit| seconds >= limit) {
                    return Ok(());
                }
            }
        }
    }
}
