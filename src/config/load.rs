//! From text and environment to a checked configuration.

use super::check::{self, Report};
use super::problem::{ConfigErrors, Origin, Problem};
use super::tree::{MAX_FILE_BYTES, MAX_SCALAR_BYTES, Tree};
use super::{Config, Routing, Secret, de, env};
use std::fs::File;
use std::io::{self, Read};
use std::path::Path;

impl Config {
    /// Reads and checks YAML, overridden by those of the variables whose names begin with
    /// [`ENV_PREFIX`](super::ENV_PREFIX). `file_name` is for messages. Opens no file: `password_file` stays unread.
    ///
    /// # Errors
    /// Everything that is wrong.
    pub fn from_yaml(
        text: &str,
        file_name: &str,
        env: impl Iterator<Item = (String, String)>,
    ) -> Result<Config, ConfigErrors> {
        parse(text, file_name, env, None)
    }

    /// Reads and checks a file and the password files that it names. Without a file: the defaults and the environment.
    ///
    /// # Errors
    /// Everything that is wrong, an unreadable file included.
    pub fn load(
        path: Option<&Path>,
        env: impl Iterator<Item = (String, String)>,
    ) -> Result<Config, ConfigErrors> {
        let Some(path) = path else {
            return parse("", "defaults", env, Some(Path::new("")));
        };
        let name = path.display().to_string();
        match read_text(path, MAX_FILE_BYTES) {
            Ok(text) => parse(&text, &name, env, Some(path.parent().unwrap_or(Path::new("")))),
            Err(error) => {
                let message = format!("cannot be read: {error}");
                let problem = Problem { origin: Origin::Unknown, key: String::new(), message };
                ConfigErrors::of(&name, vec![problem]).map_or_else(|| Ok(Config::default()), Err)
            }
        }
    }

    /// Checks a configuration that code has made or changed.
    ///
    /// # Errors
    /// Everything that is wrong.
    pub fn validate(&self) -> Result<(), ConfigErrors> {
        self.routing().map(|_| ())
    }

    /// The route table and its clusters.
    ///
    /// # Errors
    /// Everything that is wrong, as [`Config::validate`]; nothing for what [`Config::from_yaml`] has returned.
    pub fn routing(&self) -> Result<Routing, ConfigErrors> {
        let tree = Tree::empty();
        let dead = de::Dead::new();
        let mut report = Report::new(&tree, &dead);
        let routing = check::config(self, &mut report);
        match ConfigErrors::of("configuration", report.problems) {
            None => Ok(routing),
            Some(errors) => Err(errors),
        }
    }
}

/// `base` is where relative password files are; `None` leaves them unread.
fn parse(
    text: &str,
    file_name: &str,
    env: impl Iterator<Item = (String, String)>,
    base: Option<&Path>,
) -> Result<Config, ConfigErrors> {
    let mut problems = Vec::new();
    let mut tree = match Tree::parse(text, &mut problems) {
        Ok(tree) => tree,
        Err(problem) => {
            problems.push(problem);
            // Half a document would only give wrong follow-up problems.
            return ConfigErrors::of(file_name, problems).map_or_else(|| Ok(Config::default()), Err);
        }
    };
    env::overlay(&mut tree, env, &mut problems);
    let (mut config, dead): (Config, _) = de::read(&tree, &mut problems);
    name_routes(&mut config);
    let mut report = Report::new(&tree, &dead);
    report.problems = problems;
    check::config(&config, &mut report);
    if let Some(base) = base {
        read_passwords(&mut config, base, &mut report);
    }
    match ConfigErrors::of(file_name, report.problems) {
        None => Ok(config),
        Some(errors) => Err(errors),
    }
}

fn name_routes(config: &mut Config) {
    for (index, route) in config.routes.iter_mut().enumerate() {
        if route.name.is_empty() {
            route.name = format!("route-{index}");
        }
    }
}

fn read_passwords(config: &mut Config, base: &Path, report: &mut Report<'_>) {
    for (name, cluster) in &mut config.clusters {
        let Some(auth) = &mut cluster.auth else { continue };
        let Some(file) = &auth.password_file else { continue };
        match read_text(&base.join(file), MAX_SCALAR_BYTES) {
            Ok(text) => {
                let password = text.strip_suffix('\n').unwrap_or(&text);
                auth.from_file = Some(Secret::new(password.strip_suffix('\r').unwrap_or(password)));
            }
            Err(error) => {
                let at = check::At::key("clusters").then(name).then("auth").then("password_file");
                report.add(&at, format!("{} cannot be read: {error}", file.display()));
            }
        }
    }
}

/// A file's text, if it has at most `limit` bytes.
fn read_text(path: &Path, limit: usize) -> io::Result<String> {
    let most = u64::try_from(limit).unwrap_or(u64::MAX);
    let mut text = String::new();
    File::open(path)?.take(most.saturating_add(1)).read_to_string(&mut text)?;
    if text.len() > limit {
        return Err(io::Error::new(io::ErrorKind::FileTooLarge, format!("larger than {limit} bytes")));
    }
    Ok(text)
}
