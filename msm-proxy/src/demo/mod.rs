//! `msm-proxy demo`: a source, a proxy and a reader in one process, over real sockets.

mod clip;
mod report;
mod source;

use std::io::Write;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use msm::Mesh;
use msm::config::{Config, ListenerConfig, Workers};

use report::Report;

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
    let listener =
        ListenerConfig { name: "demo".into(), address: options.address, ..ListenerConfig::default() };
    let config = Config { listeners: vec![listener], workers: Workers::Count(1), ..Config::default() };
    let proxy = Mesh::builder().config(config).build().await?;
    let serving = proxy.serve().await?;
    let bound = serving.addresses().first().copied().ok_or("the demo has no listener")?;
    let url = format!("rtsp://{bound}/demo");

    let member = Mesh::builder().workers(1).build().await?;
    let publisher = member.publish(&url, &clip::description()).await?;
    let result = tokio::select! {
        sent = source::run(&publisher, &clip) => sent.map_err(Into::into),
        read = read(&member, &url, &options) => read,
        () = stop => Ok(()),
    };
    drop(publisher);
    member.shutdown(Duration::from_secs(1)).await;
    proxy.shutdown(Duration::from_secs(1)).await;
    result
}

async fn read(member: &Mesh, url: &str, options: &DemoOptions) -> Result<(), Box<dyn std::error::Error>> {
    let mut out = std::io::stdout();
    if !options.json {
        writeln!(out, "A test source is published through a proxy and read back, over UDP on this machine.")?;
        writeln!(out, "Watch it yourself:   ffplay {url}   or   vlc {url}")?;
        writeln!(out, "Ctrl-C ends.\n")?;
    }
    let mut reader = member.open(url).await?;
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
                let line = if options.json { serde_json::to_string(&second)? } else { second.line() };
                writeln!(out, "{line}")?;
                out.flush()?;
                seconds += 1;
                if options.seconds.is_some_and(|limit| seconds >= limit) {
                    return Ok(());
                }
            }
        }
    }
}
