//! What is wrong with a configuration, and where.

use std::{error::Error, fmt};

/// One thing that is wrong, and where.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Problem {
    /// The path of the setting, such as `models.qwen3.endpoints[0].url`, or the file or flag.
    pub path: String,
    /// What is wrong, and what would be right.
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

    /// True when one is about a part of what the other is about: the second may follow from the first.
    fn is_near(&self, other: &Self) -> bool {
        let is_below = |path: &str, section: &str| {
            let rest = path.strip_prefix(section);
            rest.is_some_and(|rest| rest.is_empty() || rest.starts_with(['.', '[']))
        };
        is_below(&self.path, &other.path) || is_below(&other.path, &self.path)
    }
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.path, self.message)
    }
}

/// Everything that is wrong, a line each; one alone is one line.
#[derive(Debug, Default)]
pub struct Problems(pub Vec<Problem>);

impl Problems {
    /// Adds what a later check found, but for settings that an earlier one found wrong already.
    pub fn add(&mut self, later: impl IntoIterator<Item = Problem>) {
        let known = self.0.len();
        for problem in later {
            if !self
                .0
                .iter()
                .take(known)
                .any(|other| problem.is_near(other))
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
    fn what_follows_from_a_problem_is_not_another() {
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
