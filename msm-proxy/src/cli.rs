//! The command line.

use crate::demo;
pub use crate::demo::DemoArgs;
pub use crate::explain::ExplainArgs;
use crate::member::Origin;
use crate::signals::Signals;
use crate::{EXIT_CONFIG, EXIT_OK, EXIT_RUNTIME, check, explain, logging, member, run, status};
use clap::{Args, Parser, Subcommand};
use msm::config::{Config, environment};
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

const EXAMPLES: &str = "\
Examples:
  msm-proxy demo                           a test source, two members and a reader, to see it work
  msm-proxy run                            serve on port 8554: whatever is published can be read
  msm-proxy run --config msm.yaml          serve what the file says
  msm-proxy check --config msm.yaml        say everything that is wrong with a file, and where
  msm-proxy explain rtsp://localhost/cam   say how a request would be routed, and why
  msm-proxy schema > msm.schema.json       for completion and checks in an editor
  msm-proxy status                         what a running proxy is doing

  Publish a stream to a proxy with the default configuration, and read it:
    ffmpeg -re -i clip.mp4 -c copy -f rtsp rtsp://localhost:8554/cam
    ffplay rtsp://localhost:8554/cam

Every key of the configuration can be set by a variable, too:
  MSM__LISTENERS__0__ADDRESS=127.0.0.1:9554  MSM__LOG__LEVEL=debug

Exit codes: 0 success, 1 failure at run time, 2 wrong command line or configuration.";

/// A proxy for RTSP/RTP streams: one session to the source, any number of readers, routed by URL.
#[derive(Debug, Parser)]
#[command(name = "msm-proxy", version, after_long_help = EXAMPLES, after_help = "See --help for examples.")]
pub struct Cli {
    /// What to do.
    #[command(subcommand)]
    pub command: Command,
}

/// What to do.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Serve
    ///
    /// Binds every port, then serves until SIGINT or SIGTERM; then /ready says no, new sessions get 503 after `drain_delay`, and those that
    /// are open have `drain_timeout`. A second signal ends at once.
    ///
    /// The file is read again when it changes, or files with passwords that it names, and upon SIGHUP: what is wrong with it is logged and
    /// shown by `status`, and changes nothing.
    /// With `upgrade.socket`, a process that runs with it hands its sockets over to this one, and ends with its last session.
    #[command(after_long_help = "Examples:\n  msm-proxy run\n  msm-proxy run --config msm.yaml")]
    Run(RunArgs),
    /// Show a stream flowing over a lossy link, with nothing else installed
    ///
    /// A test source (H.264 and Opus) is published into one member, crosses an encrypted mesh hop to another and is read there
    /// over plain RTSP. Between the members is a link that loses and delays packets, in both directions. Each second prints what
    /// became of them, and what the reader saw; what protection does is said when it changes; the hop's keys are renewed every ten.
    #[command(after_long_help = demo::EXAMPLES)]
    Demo(DemoArgs),
    /// Check a configuration and the environment, and show what they say
    ///
    /// Prints every problem with file, line and key, and exits with 2; or `ok` and a summary.
    #[command(after_long_help = "Example:\n  msm-proxy check --config msm.yaml")]
    Check(CheckArgs),
    /// Print the JSON Schema of the configuration
    #[command(after_long_help = "Example:\n  msm-proxy schema > msm.schema.json\n\n\
        In the file, for editors with the YAML language server:\n  # yaml-language-server: $schema=msm.schema.json")]
    Schema,
    /// Say how a request would be routed, and why
    ///
    /// Prints the routes that match in the order in which they are asked, each with what it makes of the request; then the decision: the
    /// cluster with its servers, or why not. Exits with 0 if the request is served or sent elsewhere, with 1 if not.
    #[command(after_long_help = explain::EXAMPLES)]
    Explain(ExplainArgs),
    /// Show what a running proxy is doing
    #[command(
        after_long_help = "Examples:\n  msm-proxy status\n  msm-proxy status --address 127.0.0.1:18001 --json"
    )]
    Status(StatusArgs),
}

/// Arguments of `run`.
#[derive(Debug, Args)]
pub struct RunArgs {
    /// The configuration; without it, the defaults: RTSP on port 8554, whatever is published can be read
    #[arg(short, long, value_name = "FILE")]
    pub config: Option<PathBuf>,
}

/// Arguments of `check`.
#[derive(Debug, Args)]
pub struct CheckArgs {
    /// The configuration
    #[arg(short, long, value_name = "FILE")]
    pub config: PathBuf,
}

/// Arguments of `status`.
#[derive(Debug, Args)]
pub struct StatusArgs {
    /// The proxy's admin address
    #[arg(short, long, value_name = "HOST:PORT", default_value = "127.0.0.1:18000")]
    pub address: String,
    /// Print the JSON as it is
    #[arg(long)]
    pub json: bool,
}

/// Parses the command line of this process and does what it says.
pub fn main() -> ExitCode {
    let cli = Cli::parse();
    ExitCode::from(dispatch(&cli.command, &mut io::stdout(), &mut io::stderr()))
}

fn serve(args: &RunArgs) -> u8 {
    let mut origin = Origin::new(args.config.as_deref());
    let config = match load(args.config.as_deref(), &mut io::stderr()) {
        Ok(config) => config,
        Err(code) => return code,
    };
    match logging::init(&config.log) {
        Ok(level) => origin.level = Some(level),
        Err(error) => {
            eprintln!("{error}");
            return EXIT_RUNTIME;
        }
    }
    let outcome = on_runtime(async {
        let mut signals = Signals::install().map_err(|error| error.to_string())?;
        let (takeover, passed) = member::take_over(&config).await.map_err(|error| error.to_string())?;
        run::run(&config, passed, member::start(config.clone(), origin, takeover), &mut signals)
            .await
            .map_err(|error| error.to_string())
    });
    report(outcome)
}

fn show(args: &DemoArgs) -> u8 {
    let outcome = on_runtime(async {
        let mut signals = Signals::install().map_err(|error| error.to_string())?;
        demo::run(args, async {
            signals.next().await;
        })
        .await
        .map_err(|error| error.to_string())
    });
    report(outcome)
}

/// Runs the control side on this thread; media has threads of its own.
fn on_runtime(work: impl Future<Output = Result<(), String>>) -> Result<(), String> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    runtime.map_err(|error| error.to_string())?.block_on(work)
}

fn report(outcome: Result<(), String>) -> u8 {
    match outcome {
        Ok(()) => EXIT_OK,
        Err(error) => {
            eprintln!("msm-proxy: {error}");
            EXIT_RUNTIME
        }
    }
}

/// Does what the command line says; returns the exit code. A reader of the output that goes away (`| head`) is no error.
fn dispatch(command: &Command, out: &mut dyn Write, err: &mut dyn Write) -> u8 {
    match command {
        Command::Run(args) => serve(args),
        Command::Demo(args) => show(args),
        Command::Check(args) => check::check(&args.config, environment(), out, err),
        Command::Schema => {
            let _ = writeln!(out, "{}", msm::config::schema());
            EXIT_OK
        }
        Command::Explain(args) => match load(args.config.as_deref(), err) {
            Ok(config) => explain::explain(args, &config, out, err),
            Err(code) => code,
        },
        Command::Status(args) => match status::fetch(&args.address) {
            Ok(value) if args.json => {
                let _ = writeln!(out, "{value:#}");
                EXIT_OK
            }
            Ok(value) => {
                let _ = write!(out, "{}", status::table(&value));
                EXIT_OK
            }
            Err(error) => {
                let _ = writeln!(err, "{}: {error}", args.address);
                EXIT_RUNTIME
            }
        },
    }
}

/// Loads the configuration that `run` is to use.
///
/// # Errors
/// The exit code, after everything that is wrong has been written to `err`.
pub fn load(config: Option<&Path>, err: &mut dyn Write) -> Result<Config, u8> {
    Config::load(config, environment()).map_err(|errors| {
        let _ = writeln!(err, "{errors}");
        EXIT_CONFIG
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::CommandFactory;

    #[test]
    fn the_command_line_is_consistent() {
        Cli::command().debug_assert();
    }

    #[test]
    fn arguments() {
        assert!(Cli::try_parse_from(["msm-proxy", "check"]).is_err(), "a forgotten file must not pass");
        let cli = Cli::try_parse_from(["msm-proxy", "status"]).expect("valid");
        let Command::Status(args) = cli.command else { panic!("status") };
        assert_eq!((args.address.as_str(), args.json), ("127.0.0.1:18000", false));
    }
}
