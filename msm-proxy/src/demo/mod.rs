//! `msm-proxy demo`: a source, two members with an encrypted hop over a lossy link between them, and a reader, in one process,
//! over real sockets.

mod args;
mod clip;
mod conditions;
mod hop;
mod members;
mod picture;
mod protection;
mod relay;
mod report;
mod screen;
mod source;

use std::pin::Pin;
use std::time::{Duration, Instant};

use msm::{Mesh, Reader};

pub use args::DemoArgs;
pub(crate) use args::EXAMPLES;
use hop::Hop;
use members::Members;
use report::{Report, Second};
use screen::Screen;

/// How often the members get new certificates, and the hop new keys.
const ROTATION: u64 = 10;

type Outcome = Result<(), Box<dyn std::error::Error>>;

/// Runs until the time is over or `stop` completes.
pub(crate) async fn run(args: &DemoArgs, stop: impl Future<Output = ()>) -> Outcome {
    let clip = clip::load()?;
    let members = members::start(args).await?;
    let url = format!("rtsp://{}/demo", members.address);
    let publisher = members.studio.publish(&url, &clip::description()).await?;
    // A program outside the mesh: it reads by plain RTSP.
    let player = Mesh::builder().workers(1).build().await?;
    let result = tokio::select! {
        sent = source::run(&publisher, &clip) => sent.map_err(Into::into),
        read = read(&members, &player, &url, args, stop) => read,
    };
    drop(publisher);
    player.shutdown(Duration::from_secs(1)).await;
    members.shutdown().await;
    result
}

async fn read(
    members: &Members,
    player: &Mesh,
    url: &str,
    args: &DemoArgs,
    stop: impl Future<Output = ()>,
) -> Outcome {
    tokio::pin!(stop);
    let mut screen = Screen::new(args);
    screen.introduce()?;
    let reader = tokio::select! {
        reader = player.open(url) => reader?,
        () = &mut stop => return Ok(()),
    };
    screen.begin(Hop::of(members).await.as_ref(), url)?;
    tokio::select! {
        over = watch(members, reader, args, &mut screen) => over?,
        () = &mut stop => {}
    }
    Ok(screen.end()?)
}

/// The hop's state, asked for.
type Asked<'a> = Pin<Box<dyn Future<Output = Option<Hop>> + 'a>>;

/// Reads and shows, second after second.
async fn watch(members: &Members, mut reader: Reader, args: &DemoArgs, screen: &mut Screen) -> Outcome {
    let mut report = Report::new(&[90_000, 48_000], args.link.rtt / 2);
    let start = tokio::time::Instant::now() + Duration::from_secs(1);
    let mut tick = tokio::time::interval_at(start, Duration::from_secs(1));
    // Packets are not kept waiting for the answer.
    let mut asked: Option<(Second, Asked<'_>)> = None;
    let mut seconds = 0;
    loop {
        tokio::select! {
            packet = reader.next() => match packet? {
                Some(packet) => report.handle(Instant::now(), &packet),
                None => return Err("the stream ended".into()),
            },
            _ = tick.tick() => asked = Some((report.second(), Box::pin(Hop::of(members)))),
            (second, hop) = answer(&mut asked) => {
                screen.show(&second, hop.as_ref())?;
                seconds += 1;
                if seconds % ROTATION == 0 {
                    members.rotate()?;
                }
                if args.seconds.is_some_and(|limit| seconds >= limit) {
                    return Ok(());
                }
            }
        }
    }
}

/// Waits for the answer to what was asked, once.
async fn answer(asked: &mut Option<(Second, Asked<'_>)>) -> (Second, Option<Hop>) {
    let Some((_, hop)) = asked else { return std::future::pending().await };
    let hop = hop.await;
    let second = asked.take().map(|(second, _)| second).unwrap_or_default();
    (second, hop)
}
