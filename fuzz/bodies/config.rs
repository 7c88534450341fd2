//! The configuration: any text gives a valid configuration or a bounded list of problems.
#![allow(clippy::indexing_slicing, clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use msm::config::{Config, MAX_PROBLEMS, Origin};

/// Reads `data` as YAML, and what follows a zero byte as `NAME=value` lines of the environment.
pub fn run(data: &[u8]) {
    let text = String::from_utf8_lossy(data);
    let (yaml, env) = text.split_once('\0').unwrap_or((&text, ""));
    let env = env.lines().filter_map(|line| line.split_once('='));
    let env = env.map(|(name, value)| (name.to_owned(), value.to_owned()));
    match Config::from_yaml(yaml, "fuzz.yaml", env) {
        Ok(config) => {
            config.validate().expect("what was accepted is valid");
            let routing = config.routing().expect("and can be routed by");
            let known = |name: &str| routing.clusters.iter().any(|cluster| cluster.name == name);
            let mut backends = routing.table.routes().iter().flat_map(|route| &route.backends);
            assert!(backends.all(|backend| known(&backend.cluster)), "with clusters that exist");
        }
        Err(errors) => {
            let problems = errors.problems();
            assert!(!problems.is_empty() && problems.len() <= MAX_PROBLEMS);
            // The parser may put an unexpected end one line behind the last.
            let lines = yaml.split(['\n', '\r']).count() + 1;
            for problem in problems {
                assert!(!problem.message.is_empty());
                if let Origin::Line(line) = problem.origin {
                    assert!(line as usize <= lines, "line {line} of {lines}");
                }
            }
            assert!(errors.to_string().lines().count() <= MAX_PROBLEMS + 1, "{errors}");
        }
    }
}
