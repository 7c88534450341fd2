//! Logs, on standard error.

use msm::config::{LogConfig, LogFormat};
use std::io::IsTerminal;
use tracing_subscriber::EnvFilter;

/// Why logging could not be set up.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum LoggingError {
    /// `RUST_LOG` is no filter.
    #[error("environment: RUST_LOG: {0}; write e.g. `info` or `warn,msm=debug`")]
    Filter(#[from] tracing_subscriber::filter::ParseError),
    /// The process has a subscriber already.
    #[error("logging was set up twice")]
    Twice,
}

/// The filter: `rust_log` when it is set and not empty, else the configured level.
fn filter(config: &LogConfig, rust_log: Option<&str>) -> Result<EnvFilter, LoggingError> {
    let directives = match rust_log {
        Some(text) if !text.trim().is_empty() => text,
        _ => config.level.name(),
    };
    Ok(EnvFilter::builder().parse(directives)?)
}

/// What is logged from now on.
pub struct Level(Box<dyn Fn(EnvFilter) + Send + Sync>);

impl Level {
    /// Logs at the configured level, unless `RUST_LOG` says otherwise.
    pub fn set(&self, config: &LogConfig) {
        let rust_log = std::env::var("RUST_LOG").ok();
        // A wrong variable was refused at the start.
        if let Ok(filter) = filter(config, rust_log.as_deref()) {
            (self.0)(filter);
        }
    }
}

/// Sets up logging for the process.
///
/// # Errors
/// See [`LoggingError`].
pub fn init(config: &LogConfig) -> Result<Level, LoggingError> {
    let rust_log = std::env::var("RUST_LOG").ok();
    let builder = tracing_subscriber::fmt()
        .with_env_filter(filter(config, rust_log.as_deref())?)
        .with_writer(std::io::stderr)
        .with_ansi(std::io::stderr().is_terminal());
    let (level, outcome) = match config.format {
        LogFormat::Human => {
            let builder = builder.with_filter_reloading();
            let handle = builder.reload_handle();
            let level: Level = Level(Box::new(move |filter| drop(handle.reload(filter))));
            (level, builder.try_init())
        }
        LogFormat::Json => {
            let builder = builder.json().flatten_event(true).with_filter_reloading();
            let handle = builder.reload_handle();
            let level: Level = Level(Box::new(move |filter| drop(handle.reload(filter))));
            (level, builder.try_init())
        }
    };
    outcome.map(|()| level).map_err(|_| LoggingError::Twice)
}

#[cfg(test)]
mod tests {
    use super::*;
    use msm::config::LogLevel;

    #[test]
    fn the_variable_wins() {
        let config = LogConfig { level: LogLevel::Warn, ..LogConfig::default() };
        let text = |rust_log| filter(&config, rust_log).expect("valid").to_string();
        assert_eq!(text(None), "warn");
        assert_eq!(text(Some(" ")), "warn");
        assert_eq!(text(Some("msm=debug")), "msm=debug");
        let error = filter(&config, Some("msm=loud")).expect_err("no level");
        assert!(error.to_string().starts_with("environment: RUST_LOG: "), "{error}");
    }
}
