//! A configuration that does not come to rest.

use super::scene::{Other, Scene};
use std::thread::sleep;
use std::time::{Duration, Instant};

/// How often, and for how long, it is changed.
const EVERY: Duration = Duration::from_millis(100);
const LASTS: Duration = Duration::from_secs(30);
/// How many of the changes must have come into force, or been refused, one by one: what comes while one is read is read with the next.
const LEAST: f64 = 0.5;

/// Weights, routes, endpoints and clusters change, and now and then the file is a bad one. Nothing of it concerns those who read.
pub(crate) fn change(scene: &mut Scene<'_>) {
    let begun = Instant::now();
    let (mut good, mut bad) = (0.0, 0.0);
    for number in 0_u32.. {
        let due = begun + EVERY * number;
        if due >= begun + LASTS {
            break;
        }
        sleep(due.saturating_duration_since(Instant::now()));
        let config = if number % 10 == 9 {
            bad += 1.0;
            scene.config(&other(number)).replace("routes:", "roots:")
        } else {
            good += 1.0;
            scene.config(&other(number))
        };
        scene.proxy.as_ref().unwrap().reload(&config);
    }
    let proxy = scene.proxy.as_ref().unwrap();
    let count = |result: &str| proxy.metric("msm_config_reloads_total", &[&format!("result=\"{result}\"")]);
    let (applied, refused) = (count("applied"), count("refused"));
    println!("reload: of {good} good files {applied} were applied, of {bad} bad ones {refused} refused");
    if applied < good * LEAST || refused < bad * LEAST {
        scene.wrong.push(format!(
            "of {good} good files {applied} were applied, of {bad} bad ones {refused} refused"
        ));
    }
}

/// Each number's configuration is another than that of the one before.
fn other(number: u32) -> Other {
    let mut other = Other { weight: Some(1 + number % 7), ..Other::default() };
    // Further routes: some before those in use, all for other URLs.
    for extra in 0..number % 5 {
        other.routes.push_str(&format!(
            "  - {{name: extra{extra}, match: {{url: \"rtsp://*/extra{extra}/{{path...}}\"}}, backends: [{{cluster: calm, weight: {}}}, {{cluster: spare}}]}}\n",
            1 + number % 3
        ));
    }
    // An endpoint that nobody uses, in the cluster in use; and in another, which is there only at times.
    other.endpoint = number.is_multiple_of(2).then(|| "rtsp://10.73.2.1:8554".to_owned());
    if !number.is_multiple_of(5) {
        let port = 9000 + number % 4;
        other.clusters.push_str(&format!("  spare: {{endpoints: [\"rtsp://10.73.2.1:{port}\"]}}\n"));
    }
    other
}
