//! The problems of a configuration: what is wrong, and where.

use std::{error::Error, fmt};

/// One problem of a configuration.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Problem {
    /// The path of the setting, such as `models.qwen3.endpoints[0].url`, or the file or flag.
    pub path: String,
    /// What is wrong, and what is right.
    pub message: String,
}

impl Problem {
    /// A problem at `path`.
    pub fn new(path: impl Into<String>, message: impl Into<String>) -> Self {
        Self {
            path: path.into(),
            message: message.into(),
        }
    }

    /// Returns true if one path is part of the other. Then one problem may follow from the other.
    fn overlaps(&self, other: &Self) -> bool {
        let is_within = |path: &str, section: &str| is_within(path, section, &[".", "["]);
        is_within(&self.path, &other.path) || is_within(&other.path, &self.path)
    }
}

/// Returns true if `path` is `section` or a part of it. `separators`: what may follow the section's name in a longer path.
pub(super) fn is_within(path: &str, section: &str, separators: &[&str]) -> bool {
    path.strip_prefix(section).is_some_and(|rest| {
        let mut separators = separators.iter();
        rest.is_empty() || separators.any(|separator| rest.starts_with(separator))
    })
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.path, self.message)
    }
}

/// All problems of a configuration. They print as one line each, below a first line; a single problem is one line.
#[derive(Debug, Default)]
pub struct Problems(pub Vec<Problem>);

impl Problems {
    /// Adds the problems of a later check, except for settings that an earlier check reported.
    pub fn add(&mut self, later: impl IntoIterator<Item = Problem>) {
        let earlier = self.0.len();
        for problem in later {
            if !self
                .0
                .iter()
                .take(earlier)
                .any(|other| problem.overlaps(other))
            {
                self.0.push(problem);
            }
        }
    }
}

impl fmt::Display for Problems {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let [only] = &*self.0 {
            return write!(f, "the configuration has a problem: {only}");
        }
        write!(f, "the configuration has {} problems:", self.0.len())?;
        self.0
            .iter()
            .try_for_each(|problem| write!(f, "\n  {problem}"))
    }
}

impl Error for Problems {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_problem_that_follows_from_another_is_not_reported() {
        let mut problems = Problems(vec![Problem::new("server.tls.cert", "cannot be read")]);
        let later = [
            "server.tls",
            "server.tls.cert[0]",
            "server.tls_like",
            "listen",
        ];
        problems.add(later.map(|path| Problem::new(path, "x")));
        let paths: Vec<&str> = problems.0.iter().map(|problem| &*problem.path).collect();
        assert_eq!(paths, ["server.tls.cert", "server.tls_like", "listen"]);
        assert_eq!(problems.to_string().lines().count(), 4);
        problems.0.truncate(1);
        assert_eq!(
            problems.to_string(),
            "the configuration has a problem: server.tls.cert: cannot be read"
        );
    }
}
