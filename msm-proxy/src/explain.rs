//! `msm-proxy explain`.

use crate::{EXIT_CONFIG, EXIT_OK, EXIT_RUNTIME, status};
use clap::{Args, ValueEnum};
use msm::config::{ActionConfig, Bind, Config, EndpointChoice, Explanation, Question};
use serde_json::Value;
use std::io::Write;
use std::net::IpAddr;
use std::path::PathBuf;

pub(crate) const EXAMPLES: &str = "Examples:
  msm-proxy explain --config msm.yaml rtsp://proxy.example/news/eu
  msm-proxy explain --config msm.yaml --from spiffe://studio.example/proxy/b rtsp://proxy.example/news/eu
  msm-proxy explain --config msm.yaml --listener tls --header 'User-Agent: VLC/3.0' --client 192.0.2.7 rtsps://proxy.example/news/eu
  msm-proxy explain --config msm.yaml --admin 127.0.0.1:18000 rtsp://proxy.example/news/eu    with the health of its endpoints";

/// Arguments of `explain`.
#[derive(Debug, Args)]
pub struct ExplainArgs {
    /// The configuration; without it, the defaults
    #[arg(short, long, value_name = "FILE")]
    pub config: Option<PathBuf>,
    /// Who asks: the SPIFFE ID of another member; without it, a plain client
    #[arg(short, long, value_name = "SPIFFE_ID")]
    pub from: Option<String>,
    /// What is asked for
    #[arg(short, long, value_enum, default_value_t = ActionArg::Read)]
    pub action: ActionArg,
    /// A header of the request; may stand several times
    #[arg(long, value_name = "NAME: VALUE", value_parser = header)]
    pub header: Vec<(String, String)>,
    /// The listener that the request comes in by
    #[arg(long, value_name = "NAME")]
    pub listener: Option<String>,
    /// The client's address, for percentages and backends with weights
    #[arg(long, value_name = "ADDRESS")]
    pub client: Option<IpAddr>,
    /// Ask the proxy with this admin address how the endpoints are; default: `admin.address` of the configuration, if it answers
    #[arg(long, value_name = "HOST:PORT")]
    pub admin: Option<String>,
    /// Print JSON
    #[arg(long)]
    pub json: bool,
    /// The URL as a client would ask for it
    pub url: String,
}

/// What is asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum ActionArg {
    /// To receive the stream.
    Read,
    /// To send it.
    Publish,
}

fn header(text: &str) -> Result<(String, String), String> {
    let (name, value) =
        text.split_once(':').ok_or("is no header; write e.g. 'User-Agent: VLC/3.0'".to_owned())?;
    Ok((name.trim().to_owned(), value.trim().to_owned()))
}

/// Writes how a request would be routed to `out`, or why that cannot be said to `err`. Returns the exit code.
pub fn explain(args: &ExplainArgs, config: &Config, out: &mut dyn Write, err: &mut dyn Write) -> u8 {
    let question = Question {
        url: args.url.clone(),
        action: match args.action {
            ActionArg::Read => ActionConfig::Read,
            ActionArg::Publish => ActionConfig::Publish,
        },
        from: args.from.clone(),
        listener: args.listener.clone(),
        headers: args.header.clone(),
        client: args.client,
    };
    let mut found = match config.explain(&question) {
        Ok(found) => found,
        Err(error) => {
            let _ = writeln!(err, "msm-proxy explain: {error}");
            return EXIT_CONFIG;
        }
    };
    if let Err(error) = add_health(&mut found, args.admin.as_deref(), config) {
        let _ = writeln!(err, "msm-proxy explain: {error}");
        return EXIT_RUNTIME;
    }
    let _ = match serde_json::to_string_pretty(&found) {
        Ok(json) if args.json => writeln!(out, "{json}"),
        _ => write!(out, "{found}"),
    };
    if found.served || found.redirect.is_some() { EXIT_OK } else { EXIT_RUNTIME }
}

/// Has endpoints as a running proxy sees them. One that was named must answer.
fn add_health(found: &mut Explanation, admin: Option<&str>, config: &Config) -> Result<(), String> {
    if found.backends.is_empty() {
        return Ok(());
    }
    let status = match (admin, config.admin.address) {
        (Some(address), _) => {
            status::fetch(address).map_err(|error| format!("--admin {address}: {error}"))?
        }
        (None, Bind::At(address)) => match status::fetch(&address.to_string()) {
            Ok(status) => status,
            Err(_) => return Ok(()),
        },
        (None, Bind::Off) => return Ok(()),
    };
    for own in status.get("canaries").and_then(Value::as_array).map(Vec::as_slice).unwrap_or_default() {
        let text = |key: &str| own.get(key).and_then(Value::as_str).map(status::clean);
        let decides = |route: &str| found.routes.iter().any(|own| own.decides && own.route == route);
        if let (Some(route), Some(cluster), Some(why)) = (text("route"), text("cluster"), text("rolled_back"))
            && decides(&route)
        {
            found.roll_back(&cluster, &why);
        }
    }
    for backend in &mut found.backends {
        let endpoints = endpoints(&status, &backend.cluster);
        if !endpoints.is_empty() {
            backend.endpoints = endpoints;
        }
    }
    Ok(())
}

/// The endpoints of a cluster in a status.
fn endpoints(status: &Value, cluster: &str) -> Vec<EndpointChoice> {
    let all = status.get("endpoints").and_then(Value::as_array).map(Vec::as_slice).unwrap_or_default();
    let own = all.iter().filter(|own| own.get("cluster").and_then(Value::as_str) == Some(cluster));
    own.filter_map(|own| {
        let text = |key: &str| own.get(key).and_then(Value::as_str).map(status::clean);
        let mut health = text("health")?;
        if let Some(why) = text("why") {
            health = format!("{health}: {why}");
        }
        if let Some(sessions) = own.get("sessions").and_then(Value::as_u64) {
            health = format!("{health}, {sessions} sessions");
        }
        if let Some(priority) = own.get("priority").and_then(Value::as_u64).filter(|priority| *priority > 0) {
            health = format!("{health}, priority {priority}");
        }
        let weight = own.get("weight").and_then(Value::as_u64).and_then(|weight| u32::try_from(weight).ok());
        Some(EndpointChoice { url: text("url")?, weight: weight.unwrap_or(1), health: Some(health) })
    })
    .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::Parser;
    use std::io::{Read, Write};
    use std::net::TcpListener;

    #[derive(Parser)]
    struct Line {
        #[command(flatten)]
        args: ExplainArgs,
    }

    fn run(config: &Config, words: &[&str]) -> (u8, String, String) {
        let line =
            Line::try_parse_from(["explain"].iter().chain(words)).unwrap_or_else(|error| panic!("{error}"));
        let (mut out, mut err) = (Vec::new(), Vec::new());
        let code = explain(&line.args, config, &mut out, &mut err);
        (code, String::from_utf8(out).expect("text"), String::from_utf8(err).expect("text"))
    }

    #[test]
    fn it_says_why_and_exits_by_the_decision() {
        let config = Config::default();
        let (code, out, _) = run(&config, &["rtsp://h/cam"]);
        assert_eq!((code, out.lines().next()), (EXIT_OK, Some("→ local  `/{path...}` matches")));
        let (code, out, _) = run(&config, &["--from", "spiffe://a.example/x", "--json", "rtsp://h/cam"]);
        assert_eq!(code, EXIT_RUNTIME);
        assert!(out.contains("\"status\": 403"), "{out}");
        let (code, _, err) = run(&config, &["--from", "nobody", "rtsp://h/cam"]);
        assert_eq!(code, EXIT_CONFIG);
        assert!(err.starts_with("msm-proxy explain: --from: "), "{err}");
    }

    const YAML: &str = "
admin: {address: off}
routes:
  - {name: vlc, match: {url: '/{p...}', headers: {User-Agent: 'VLC*'}, listeners: [rtsp]}, redirect: {to: 'rtsp://other/{p}'}}
  - {name: rest, match: {url: '/{p...}'}, backends: [{cluster: a}]}
clusters: {a: {endpoints: ['rtsp://10.0.0.2', 'rtsp://10.0.0.3']}}
";

    fn config() -> Config {
        Config::from_yaml(YAML, "msm.yaml", std::iter::empty()).unwrap_or_else(|errors| panic!("{errors}"))
    }

    #[test]
    fn header_and_listener_are_asked_with() {
        let asked = ["--header", "user-agent: VLC/3", "--listener", "rtsp", "rtsp://h/cam"];
        let (code, out, _) = run(&config(), &asked);
        assert!(
            code == EXIT_OK && out.ends_with("302: route `vlc` sends the client to rtsp://other/cam\n"),
            "{out}"
        );
        let (_, out, _) = run(&config(), &["rtsp://h/cam"]);
        assert!(
            out.contains("200: route `rest` serves it") && out.contains("only a running proxy knows"),
            "{out}"
        );
        assert!(header("VLC").is_err());
    }

    #[test]
    fn health_is_a_running_proxy_s_to_say() {
        let server = TcpListener::bind("127.0.0.1:0").expect("a port");
        let address = server.local_addr().expect("bound").to_string();
        let answering = std::thread::spawn(move || {
            let (mut stream, _) = server.accept().expect("a connection");
            let _ = stream.read(&mut [0; 1024]).expect("a request");
            let body = r#"{"endpoints": [
                {"cluster": "b", "url": "rtsp://x", "health": "healthy"},
                {"cluster": "a", "url": "rtsp://10.0.0.2:554", "weight": 3, "priority": 0, "health": "ejected", "why": "5 failures in a row", "sessions": 0},
                {"cluster": "a", "url": "rtsp://10.0.0.9:554", "weight": 1, "priority": 20, "health": "healthy", "why": null, "sessions": 2}]}"#;
            write!(stream, "HTTP/1.0 200 OK\r\n\r\n{body}").expect("sent");
        });
        let (code, out, err) = run(&config(), &["--admin", &address, "rtsp://h/cam"]);
        answering.join().expect("answered");
        assert_eq!(code, EXIT_OK, "{err}");
        assert!(
            out.contains("rtsp://10.0.0.2:554  weight 3, ejected: 5 failures in a row, 0 sessions\n"),
            "{out}"
        );
        assert!(
            out.contains("rtsp://10.0.0.9:554  weight 1, healthy, 2 sessions, priority 20\n"),
            "what discovery found: {out}"
        );
        let (code, _, err) = run(&config(), &["--admin", &address, "rtsp://h/cam"]);
        assert!(code == EXIT_RUNTIME && err.contains(&address), "nobody is there any more: {err}");
    }
}
