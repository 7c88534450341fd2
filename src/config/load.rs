//! From text and environment to a checked configuration.

use super::check::{self, Report};
use super::problem::{ConfigErrors, Origin, Problem};
use super::tree::{Kind, MAX_FILE_BYTES, MAX_SCALAR_BYTES, Tree};
use super::{Config, ListenerConfig, Protocol, Routing, Secret, de, env};
use crate::net::tls::pem;
use crate::serve::login;
use std::fs::File;
use std::io::{self, Read};
use std::path::{Path, PathBuf};

/// Most listeners of a file.
pub const MAX_LISTENERS: usize = 1000;
/// Most routes of a file.
pub const MAX_ROUTES: usize = 50_000;
/// Most clusters of a file.
pub const MAX_CLUSTERS: usize = 10_000;

impl Config {
    /// Reads and checks YAML, overridden by those of the variables whose names begin with
    /// [`ENV_PREFIX`](super::ENV_PREFIX). `file_name` is for messages. Opens no file: `password_file` stays unread,
    /// and names of other files stay as they are.
    ///
    /// # Errors
    /// Everything that is wrong.
    pub fn from_yaml(
        text: &str,
        file_name: &str,
        env: impl Iterator<Item = (String, String)>,
    ) -> Result<Config, ConfigErrors> {
        parse(text, file_name, env, None).map(|(config, _)| config)
    }

    /// Reads and checks YAML as [`Config::load`] does a file; files that it names are meant from the working directory.
    ///
    /// # Errors
    /// Everything that is wrong, what cannot be read included.
    pub fn from_text(
        text: &str,
        env: impl Iterator<Item = (String, String)>,
    ) -> Result<Config, ConfigErrors> {
        parse(text, "configuration", env, Some(Path::new(""))).map(|(config, _)| config)
    }

    /// Reads and checks a file and the files that it names, relative to it. Without a file: the defaults and the environment.
    ///
    /// # Errors
    /// Everything that is wrong, an unreadable file included.
    pub fn load(
        path: Option<&Path>,
        env: impl Iterator<Item = (String, String)>,
    ) -> Result<Config, ConfigErrors> {
        Config::load_checked(path, env).map(|(config, _)| config)
    }

    /// [`Config::load`], with what [`Config::routing`] would check it once more for.
    pub(crate) fn load_checked(
        path: Option<&Path>,
        env: impl Iterator<Item = (String, String)>,
    ) -> Result<(Config, Routing), ConfigErrors> {
        let Some(path) = path else {
            return parse("", "defaults", env, Some(Path::new("")));
        };
        let name = path.display().to_string();
        match read_text(path, MAX_FILE_BYTES) {
            Ok(text) => parse(&text, &name, env, Some(path.parent().unwrap_or(Path::new("")))),
            Err(error) => {
                let message = format!("cannot be read: {error}");
                Err(ConfigErrors::one(
                    &name,
                    Problem { origin: Origin::Unknown, key: String::new(), message },
                ))
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
) -> Result<(Config, Routing), ConfigErrors> {
    let mut problems = Vec::new();
    let mut tree = match Tree::parse(text, &mut problems) {
        Ok(tree) => tree,
        Err(problem) => {
            // Half a document would only give wrong follow-up problems.
            return Err(ConfigErrors::one(file_name, problem));
        }
    };
    env::overlay(&mut tree, env, &mut problems);
    if let Some(problem) = too_many(&tree) {
        return Err(ConfigErrors::one(file_name, problem));
    }
    let (mut config, dead): (Config, _) = de::read(&tree, &mut problems);
    name_routes(&mut config);
    place_listeners(&mut config, &tree, &dead);
    let mut report = Report::new(&tree, &dead);
    report.problems = problems;
    let routing = check::config(&config, &mut report);
    if let Some(base) = base {
        read_passwords(&mut config, base, &mut report);
        resolve_files(&mut config, base, &mut report);
    }
    match ConfigErrors::of(file_name, report.problems) {
        None => Ok((config, routing)),
        Some(errors) => Err(errors),
    }
}

/// What there is more of than this process is made for: what is written as `{}` takes a thousand times the memory once it is read.
fn too_many(tree: &Tree) -> Option<Problem> {
    let Kind::Map(entries) = &tree.root.kind else { return None };
    let most = [("listeners", MAX_LISTENERS), ("routes", MAX_ROUTES), ("clusters", MAX_CLUSTERS)];
    entries.iter().find_map(|(key, node)| {
        let (_, most) = most.iter().find(|(own, _)| own == key)?;
        let count = match &node.kind {
            Kind::Seq(items) => items.len(),
            Kind::Map(entries) => entries.len(),
            _ => 0,
        };
        let message = format!(
            "has {count} entries, and {most} are the most; placeholders and wildcards stand for many"
        );
        (count > *most).then(|| Problem { origin: node.origin.clone(), key: key.clone(), message })
    })
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

/// What listeners are called and where they are unless the document says so depends on what they speak.
fn place_listeners(config: &mut Config, tree: &Tree, dead: &de::Dead) {
    let items = match &tree.root.kind {
        Kind::Map(entries) => entries.iter().find(|(key, _)| key == "listeners").map(|(_, node)| &node.kind),
        _ => None,
    };
    let Some(Kind::Seq(items)) = items else { return };
    let items = items.iter().filter(|item| !dead.contains(&item.id));
    for (listener, item) in config.listeners.iter_mut().zip(items) {
        let has = |wanted: &str| matches!(&item.kind, Kind::Map(entries) if entries.iter().any(|(key, _)| key == wanted));
        let (address, name) = match listener.protocol {
            Protocol::Rtsp => continue,
            Protocol::Rtsps => (ListenerConfig::TLS_ADDRESS, "rtsps"),
            Protocol::Mesh => (ListenerConfig::MESH_ADDRESS, "mesh"),
        };
        if !has("address") {
            listener.address = address;
        }
        if !has("name") {
            listener.name = name.to_owned();
        }
    }
}

/// Makes names of files absolute or relative to this process, and tries them, so that `check` finds what a start would.
fn resolve_files(config: &mut Config, base: &Path, report: &mut Report<'_>) {
    let resolve = |file: &mut PathBuf| *file = base.join(&*file);
    if let Some(files) = config.identity.as_mut().and_then(|identity| identity.files.as_mut()) {
        let files = [&mut files.certificate, &mut files.key, &mut files.bundle]
            .into_iter()
            .chain(files.federated.values_mut());
        files.filter(|file| !file.as_os_str().is_empty()).for_each(resolve);
    }
    for (index, listener) in config.listeners.iter_mut().enumerate() {
        let at = check::At::key("listeners").item(index);
        if let Some(file) = listener.users.as_mut().filter(|file| !file.as_os_str().is_empty()) {
            resolve(file);
            if let Err(problem) = login::read_users(file) {
                report.add(&at.then(problem.key), problem.message);
            }
        }
        if let Some(tls) = listener.tls.as_mut().filter(|_| listener.protocol == Protocol::Rtsps) {
            let is_named = |file: &Path| !file.as_os_str().is_empty();
            if is_named(&tls.certificate) && is_named(&tls.key) {
                [Some(&mut tls.certificate), Some(&mut tls.key), tls.client_ca.as_mut()]
                    .into_iter()
                    .flatten()
                    .for_each(resolve);
                if let Err(problem) = pem::server_config(tls) {
                    report.add(&at.then("tls").then(problem.key), problem.message);
                }
            }
        }
    }
    for (name, cluster) in &mut config.clusters {
        for file in &mut cluster.files {
            *file = base.join(&*file).to_string_lossy().into_owned();
        }
        let Some(tls) = &mut cluster.tls else { continue };
        tls.ca.as_mut().map(resolve);
        if let Err(problem) = pem::client_config(tls) {
            let at = check::At::key("clusters").then(name).then("tls").then(problem.key);
            report.add(&at, problem.message);
        }
    }
}

/// A file's text, if it has at most `limit` bytes.
pub(crate) fn read_text(path: &Path, limit: usize) -> io::Result<String> {
    let most = u64::try_from(limit).unwrap_or(u64::MAX);
    let mut text = String::new();
    File::open(path)?.take(most.saturating_add(1)).read_to_string(&mut text)?;
    if text.len() > limit {
        return Err(io::Error::new(io::ErrorKind::FileTooLarge, format!("larger than {limit} bytes")));
    }
    Ok(text)
}

#[cfg(test)]
mod tests;
