//! The settings of the environment, and variables that were likely meant to be one.

use std::env;

use figment::providers::Env;

use super::{
    Config, Problem, Secret,
    did_you_mean::{nearest, settings_by_variable},
    problem::is_within,
};

const PREFIX: &str = "THINKGATE_";

/// Settings that can be set in a file only: names that clients use would have to survive in the name of a variable.
const FILES_ONLY: [&str; 4] = ["models", "aliases", "discover", "routing__domains"];

/// How alike a variable and a setting must be for a warning; see `did_you_mean`. More than in a file, because others may set
/// variables that begin like ours.
const ALIKE: f64 = 0.93;

/// The settings of the environment: `THINKGATE_LISTEN`, and names with `__` between levels.
pub fn environment(problems: &mut Vec<Problem>) -> Env {
    let ours = |key: &str| {
        (key.eq_ignore_ascii_case("listen") || key.contains("__")) && !is_of_kubernetes(key)
    };
    let files_only = |key: &str| {
        let key = key.to_ascii_lowercase();
        let mut sections = FILES_ONLY.iter();
        sections.any(|section| is_within(&key, section, &["__"]))
    };
    let env = Env::prefixed(PREFIX).filter(move |key| ours(key.as_str()));
    let misplaced = env.iter().filter(|(key, _)| files_only(key.as_str()));
    problems.extend(
        misplaced
            .map(|(key, _)| Problem::new(format!("{PREFIX}{key}"), "can be set in a file only")),
    );
    env.filter(move |key| !files_only(key.as_str())).split("__")
}

/// True for the variables that Kubernetes sets for services whose name is or begins with `thinkgate`: of a service `thinkgate-x`
/// with a port `http`, `THINKGATE_X_SERVICE_HOST`, `THINKGATE_X_SERVICE_PORT_HTTP`, `THINKGATE_X_PORT_8080_TCP_ADDR` and so on.
/// `name`: without our prefix.
fn is_of_kubernetes(name: &str) -> bool {
    let name = format!("_{}", name.to_ascii_uppercase());
    let is_port = |rest: &str| {
        let mut parts = rest.split('_');
        let is_number = parts.next().is_some_and(|port| port.parse::<u16>().is_ok());
        let is_protocol = matches!(parts.next(), Some("TCP" | "UDP" | "SCTP"));
        is_number && is_protocol && matches!(parts.next(), None | Some("PROTO" | "PORT" | "ADDR"))
    };
    let ports = name.match_indices("_PORT_");
    name.ends_with("_SERVICE_HOST")
        || name.ends_with("_PORT")
        || name.contains("_SERVICE_PORT_")
        || ports
            .into_iter()
            .any(|(at, port)| is_port(&name[at + port.len()..])) // at characters of one byte
}

impl Config {
    /// A warning for every variable that is no setting and is spelt like one. A variable that the configuration names as a key is
    /// none of these.
    pub fn misspelt_variables(&self) -> Vec<Problem> {
        let names: Vec<String> = self
            .secrets()
            .filter_map(|secret| match secret {
                Secret::Env(name) => Some(name.clone()),
                Secret::File(_) | Secret::Sha256(_) => None,
            })
            .collect();
        let variables = env::vars_os().filter_map(|(name, _)| name.into_string().ok());
        let others = variables.filter(|name| !names.contains(name));
        others.filter_map(|name| misspelt(&name)).collect()
    }
}

/// The warning for a variable, if it was likely meant for a setting.
fn misspelt(variable: &str) -> Option<Problem> {
    let name = variable.strip_prefix(PREFIX)?;
    if name.eq_ignore_ascii_case("listen") || name.contains("__") || is_of_kubernetes(name) {
        return None; // a setting, which is checked as such, or none of ours
    }
    // One underscore instead of two is the usual mistake.
    let settings: Vec<(String, String)> = settings_by_variable()
        .map(|path| (path.replace('.', "_"), path))
        .collect();
    let spelt = nearest(
        name,
        settings.iter().map(|(spelt, _)| spelt.as_str()),
        ALIKE,
    )?;
    let (_, path) = settings.iter().find(|(known, _)| known == spelt)?;
    let right = format!("{PREFIX}{}", path.replace('.', "__").to_ascii_uppercase());
    let message = format!("is no setting; did you mean {right}?");
    Some(Problem::new(variable, message))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_misspelt_variable_is_a_warning_that_names_the_right_one() {
        for (variable, right) in [
            ("THINKGATE_LISTN", "THINKGATE_LISTEN"),
            (
                "THINKGATE_SERVER_MAX_IN_FLIGHT",
                "THINKGATE_SERVER__MAX_IN_FLIGHT",
            ),
            ("THINKGATE_ROUTING_TRESHOLD", "THINKGATE_ROUTING__THRESHOLD"),
            ("THINKGATE_CLASSIFIER_MODEL", "THINKGATE_CLASSIFIER__MODEL"),
            ("THINKGATE_OPS_LISTEN", "THINKGATE_OPS__LISTEN"),
        ] {
            let problem = misspelt(variable).unwrap_or_else(|| panic!("{variable}"));
            let expected = format!("{variable}: is no setting; did you mean {right}?");
            assert_eq!(problem.to_string(), expected);
        }
        for other in [
            "THINKGATE_LISTEN",
            "THINKGATE_SERVER__MAX_IN_FLIGHT",
            "THINKGATE_CACHE",
            "THINKGATE_BIN",
            "THINKGATE_NODE_SDK",
            "THINKGATE_API_KEY",
            "OTHER_LISTN",
        ] {
            assert_eq!(misspelt(other), None, "{other}");
        }
    }

    #[test]
    fn what_kubernetes_sets_for_a_service_of_this_name_is_no_setting() {
        for name in [
            "SERVICE_HOST",
            "SERVICE_PORT",
            "SERVICE_PORT_HTTP",
            "SERVICE_PORT_A__B",
            "PORT",
            "PORT_8080_TCP",
            "PORT_8080_TCP_ADDR",
            "PORT_8080_TCP_PORT",
            "PORT_8080_TCP_PROTO",
            "PORT_53_UDP_ADDR",
            "REDIS_MASTER_SERVICE_HOST",
            "SERVER_PORT_6379_TCP_ADDR",
        ] {
            assert!(is_of_kubernetes(name), "{name}");
            assert_eq!(misspelt(&format!("{PREFIX}{name}")), None);
        }
        for name in [
            "LISTEN",
            "SERVER__MAX_IN_FLIGHT",
            "PORTS",
            "PORT_X",
            "EXT_PROC__LISTEN",
        ] {
            assert!(!is_of_kubernetes(name), "{name}");
        }
    }
}
