//! Another process takes the place of the one that serves.

use super::crowd::Visitors;
use super::scene::Scene;
use crate::lab::Lab;
use crate::proxy::url;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::thread::sleep;
use std::time::Duration;

/// How long readers come and go before and after, at least.
const AROUND: Duration = Duration::from_secs(3);

/// The configuration's key.
pub(crate) fn key(lab: &Lab) -> String {
    let directory = lab.file("upgrade");
    if !directory.exists() {
        fs::create_dir(&directory).unwrap();
        fs::set_permissions(&directory, fs::Permissions::from_mode(0o700)).unwrap();
    }
    // Whoever reads stays as long as the run lasts; those that come and go are all of one address.
    let socket = directory.join("socket");
    format!(
        "limits: {{setup_rate: 100000}}\nupgrade: {{socket: \"{}\", drain_timeout: 1h}}\n",
        socket.display()
    )
}

/// Readers come and go all the time: none is refused, whichever process serves it.
pub(crate) fn take_over(scene: &mut Scene<'_>) {
    let streams = ["test", "calm/test"].map(|path| Visitors::start(scene.lab, &url(path)));
    sleep(AROUND);
    scene.next = Some(scene.proxy.as_ref().unwrap().next());
    sleep(AROUND);
    for (visitors, stream) in streams.into_iter().zip(["test", "calm/test"]) {
        let (served, refused) = visitors.done();
        println!("upgrade: {served} readers of {stream} came and went");
        if served < 20 {
            scene.wrong.push(format!("only {served} readers of {stream} could come and go"));
        }
        scene.wrong.extend(refused);
    }
    // Both served: the one before goes on with its readers, the next one has those that came since.
    let (before, next) = (scene.proxy.as_ref().unwrap().log(), scene.next.as_ref().unwrap().log());
    if !before.contains("another process serves now") || !next.contains("stream opened") {
        scene.wrong.push("the other process has not taken over".to_owned());
    }
}
