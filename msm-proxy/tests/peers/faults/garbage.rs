//! An endpoint whose RTSP stays well while what it sends is no media any more.

use super::scene::Scene;
use std::thread::sleep;
use std::time::{Duration, Instant};

/// When enough garbage must have come for the endpoint to be ejected.
const EJECTED_BY: Duration = Duration::from_secs(10);

/// What the proxy counts as garbage.
fn refused(scene: &Scene<'_>) -> f64 {
    let proxy = scene.proxy.as_ref().unwrap();
    let reasons = ["malformed", "unknown_payload_type", "foreign_ssrc"];
    reasons
        .into_iter()
        .map(|reason| proxy.metric("msm_dropped_total", &[&format!("reason=\"{reason}\"")]))
        .sum()
}

/// Garbage in the place of media.
pub(crate) fn instead(scene: &mut Scene<'_>) {
    scene.signal(0, "-USR1");
    sleep(Duration::from_secs(2));
    // Half a second's packets at the least, of some fifty a second.
    let refused = refused(scene);
    if refused < 20.0 {
        scene.wrong.push(format!("the proxy has refused {refused} packets of garbage, so there was none"));
    }
}

/// Garbage beside the media: the endpoint is left although nothing is missing.
pub(crate) fn beside(scene: &mut Scene<'_>) {
    scene.signal(0, "-USR1");
    let deadline = Instant::now() + EJECTED_BY;
    let proxy = scene.proxy.as_ref().unwrap();
    while proxy.metric("msm_ejections_total", &["cluster=\"servers\""]) < 1.0 {
        if Instant::now() >= deadline {
            let refused = refused(scene);
            scene.wrong.push(format!("nobody was ejected for {refused} packets of garbage"));
            return;
        }
        sleep(Duration::from_millis(50));
    }
}
