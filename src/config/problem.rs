//! What is wrong with a configuration, and where.

use std::fmt;
use std::sync::Arc;

/// Where a value came from.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum Origin {
    /// A line of the file, from 1.
    Line(u32),
    /// An environment variable.
    Env(Arc<str>),
    /// Neither: a value set by code, or a file as a whole.
    Unknown,
}

/// One thing that is wrong. The text never holds a password.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Problem {
    /// Where it stands.
    pub origin: Origin,
    /// The path of the key: `routes[0].match.url`. Empty for the document as a whole.
    pub key: String,
    /// What is wrong, and what to do about it.
    pub message: String,
}

/// Everything that is wrong with one configuration. [`Display`](fmt::Display) writes one line a problem:
/// `file:line: key: what is wrong; what to do`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ConfigErrors {
    file: String,
    problems: Vec<Problem>,
    left_out: usize,
}

/// Most problems that are reported of one configuration; the rest is counted.
pub const MAX_PROBLEMS: usize = 100;

impl ConfigErrors {
    /// The problems of a file, sorted by place. `None` when there are none.
    pub(crate) fn of(file: &str, mut problems: Vec<Problem>) -> Option<ConfigErrors> {
        if problems.is_empty() {
            return None;
        }
        problems.sort_by(|a, b| a.origin.cmp(&b.origin));
        problems.dedup();
        let left_out = problems.len().saturating_sub(MAX_PROBLEMS);
        problems.truncate(MAX_PROBLEMS);
        Some(ConfigErrors { file: file.to_owned(), problems, left_out })
    }

    /// The one problem of a file.
    pub(crate) fn one(file: &str, problem: Problem) -> ConfigErrors {
        ConfigErrors { file: file.to_owned(), problems: vec![problem], left_out: 0 }
    }

    /// The problems, by line.
    pub fn problems(&self) -> &[Problem] {
        &self.problems
    }

    /// The name of the file, as it was given.
    pub fn file(&self) -> &str {
        &self.file
    }
}

impl fmt::Display for ConfigErrors {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, Problem { origin, key, message }) in self.problems.iter().enumerate() {
            if index > 0 {
                f.write_str("\n")?;
            }
            match origin {
                Origin::Line(line) => write!(f, "{}:{line}: ", self.file)?,
                Origin::Env(name) => write!(f, "environment: {name}: ")?,
                Origin::Unknown => write!(f, "{}: ", self.file)?,
            }
            if !key.is_empty() {
                write!(f, "{key}: ")?;
            }
            // Text from the file may hold line ends; one problem stays one line.
            for piece in message.split_inclusive(char::is_control) {
                match piece.strip_suffix(char::is_control) {
                    Some(text) => write!(f, "{text} ")?,
                    None => f.write_str(piece)?,
                }
            }
        }
        if self.left_out > 0 {
            write!(f, "\n{}: and {} more", self.file, self.left_out)?;
        }
        Ok(())
    }
}

impl std::error::Error for ConfigErrors {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_line_a_problem() {
        let problem =
            |origin, key: &str, message: &str| Problem { origin, key: key.into(), message: message.into() };
        let errors = ConfigErrors::of(
            "msm.yaml",
            vec![
                problem(Origin::Env("MSM__WORKERS".into()), "workers", "bad"),
                problem(Origin::Line(7), "routes[0]", "two\r\nlines"),
                problem(Origin::Line(2), "", "first"),
            ],
        )
        .expect("problems");
        assert_eq!(
            errors.to_string(),
            "msm.yaml:2: first\nmsm.yaml:7: routes[0]: two  lines\nenvironment: MSM__WORKERS: workers: bad"
        );
        assert_eq!(ConfigErrors::of("f", Vec::new()), None);
    }

    #[test]
    fn the_list_is_bounded() {
        let problems = (0..250_u32).map(|line| Problem {
            origin: Origin::Line(line),
            key: String::new(),
            message: String::new(),
        });
        let errors = ConfigErrors::of("f", problems.collect()).expect("problems");
        assert_eq!(errors.problems().len(), MAX_PROBLEMS);
        assert!(errors.to_string().ends_with("and 150 more"));
    }
}
