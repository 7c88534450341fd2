//! A gateway inside a program: whoever asks it for `/cam/NAME` gets that stream of a server, shared by all who read it: `cargo run --example gateway -- ADDRESS SERVER`,
//! such as `127.0.0.1:8554 rtsp://10.0.0.11:8554`.

use std::io;

use msm::{EventKind, Mesh};

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let mut arguments = std::env::args().skip(1);
    let (Some(address), Some(server)) = (arguments.next(), arguments.next()) else {
        return Err("usage: gateway ADDRESS SERVER".into());
    };
    let configuration = format!(
        "listeners:
  - {{name: players, address: \"{address}\"}}
routes:
  - name: cameras
    match: {{url: \"rtsp://*/cam/{{name}}\", actions: [read]}}
    rewrite: \"/{{name}}\"
    backends: [{{cluster: server}}]
clusters:
  server: {{endpoints: [\"{server}\"]}}
"
    );
    let mesh = Mesh::builder().config_text(&configuration)?.build().await?;
    let mut events = mesh.events();
    for address in mesh.serve().await?.addresses() {
        println!("listening on {address}");
    }
    while let Some(event) = events.next().await {
        match event.kind {
            EventKind::Connected { endpoint } => println!("{} comes from {endpoint}", event.name),
            EventKind::Ended { cause } => println!("{} is over: {cause}", event.name),
            other => println!("{}: {other:?}", event.name),
        }
        io::Write::flush(&mut io::stdout())?;
    }
    Ok(())
}
