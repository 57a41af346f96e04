//! Collects the problems of checks that types cannot make.

use super::{Problem, Secret, Tls, read_file, unread::Unread};

/// Collects the problems.
pub struct Checker<'u> {
    /// What was found so far.
    pub problems: Vec<Problem>,
    /// What could not be read. What refers to it is not checked.
    pub unread: &'u Unread,
}

impl Checker<'_> {
    /// Adds a problem unless `holds`.
    pub fn unless(&mut self, holds: bool, path: impl Into<String>, message: impl Into<String>) {
        if !holds {
            self.problems.push(Problem::new(path, message));
        }
    }

    /// Adds a problem unless `count` is above zero.
    pub fn at_least_one<N: Default + PartialOrd>(&mut self, path: impl Into<String>, count: N) {
        self.unless(count > N::default(), path, "must be at least 1");
    }

    /// Checks that the files can be read.
    pub fn tls(&mut self, path: &str, files: Option<&Tls>) {
        let files = files
            .iter()
            .flat_map(|tls| [("cert", &tls.cert), ("key", &tls.key)]);
        for (name, file) in files {
            let shown = file.display().to_string();
            if let Err(message) = read_file(file) {
                let message = match shown.contains("-----BEGIN") {
                    true => "must be the path of a PEM file, not what is in it".to_owned(),
                    false => format!("`{shown}` {message}"),
                };
                self.problems
                    .push(Problem::new(format!("{path}.{name}"), message));
            }
        }
    }

    /// Checks that the key can be read.
    pub fn secret(&mut self, path: String, secret: Option<&Secret>) {
        if let Some(Err(message)) = secret.map(Secret::reveal) {
            self.problems.push(Problem::new(path, message));
        }
    }
}
