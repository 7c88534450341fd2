//! Another process in the place of this one.

use super::super::Config;
use super::{At, Report};

/// Longest path of a Unix socket (unix(7)), with what a new one is called until it is in its place: a dot and a process's number.
const MAX_PATH: usize = 107 - 11;

pub(super) fn check(config: &Config, report: &mut Report<'_>) {
    let Some(upgrade) = &config.upgrade else { return };
    let at = At::key("upgrade").then("socket");
    let length = upgrade.socket.as_os_str().len();
    if !upgrade.socket.is_absolute() || upgrade.socket.file_name().is_none() {
        report.add(&at, "is no absolute path; write e.g. `/run/msm/upgrade.sock`");
    } else if length > MAX_PATH {
        report.add(&at, format!("has {length} bytes; the system takes {MAX_PATH}"));
    }
}

#[cfg(test)]
mod tests {
    use crate::config::Config;

    fn problem(socket: &str) -> String {
        let yaml = format!("upgrade: {{socket: {socket:?}}}\n");
        Config::from_yaml(&yaml, "u.yaml", std::iter::empty()).map(drop).unwrap_err().to_string()
    }

    #[test]
    fn the_socket_is_an_absolute_path_that_the_system_takes() {
        for relative in ["", "upgrade.sock", "/"] {
            let wanted = "u.yaml:1: upgrade.socket: is no absolute path; write e.g. `/run/msm/upgrade.sock`";
            assert_eq!(problem(relative), wanted, "{relative:?}");
        }
        let long = format!("/{}", "x".repeat(96));
        assert_eq!(problem(&long), "u.yaml:1: upgrade.socket: has 97 bytes; the system takes 96");
        let yaml = "upgrade: {socket: /run/msm/upgrade.sock, drain_timeout: 1h}";
        let config = Config::from_yaml(yaml, "u.yaml", std::iter::empty()).unwrap();
        let upgrade = config.upgrade.unwrap();
        assert_eq!(upgrade.drain_timeout, Some(std::time::Duration::from_secs(3600)));
    }
}
