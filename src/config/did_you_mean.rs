//! The settings that exist, and the one that a misspelt name was meant for.

use serde::{
    Deserialize,
    de::{self, Deserializer, Visitor},
    forward_to_deserialize_any,
};

use super::{
    Alias, Auth, Buckets, ClassifierConfig, Config, Discover, EndpointConfig, ExtProc, Key,
    ModelConfig, Ops, Routing, Server, SharedLimitsConfig, Telemetry, Tls, Upstream,
};

/// How alike two names must be, from 0 to 1 (Jaro and Winkler). `treshold` and `threshold` are by 0.97, `max_tokens` and
/// `max_streams` by 0.85.
const ALIKE: f64 = 0.87;

/// The names of settings.
type Names = &'static [&'static str];

/// The sections that are written at fixed places. `*` stands for a name that the operator gives, or for an index.
fn sections() -> [(&'static str, Names); 18] {
    [
        ("", fields_of::<Config>()),
        ("server", fields_of::<Server>()),
        ("server.tls", fields_of::<Tls>()),
        ("ops", fields_of::<Ops>()),
        ("auth", fields_of::<Auth>()),
        ("auth.keys.*", fields_of::<Key>()),
        ("auth.shared_limits", fields_of::<SharedLimitsConfig>()),
        ("upstream", fields_of::<Upstream>()),
        ("ext_proc", fields_of::<ExtProc>()),
        ("ext_proc.tls", fields_of::<Tls>()),
        ("classifier", fields_of::<ClassifierConfig>()),
        ("classifier.buckets", fields_of::<Buckets>()),
        ("routing", fields_of::<Routing>()),
        ("telemetry", fields_of::<Telemetry>()),
        ("discover.*", fields_of::<Discover>()),
        ("models.*", fields_of::<ModelConfig>()),
        ("models.*.endpoints.*", fields_of::<EndpointConfig>()),
        ("aliases.*", fields_of::<Alias>()),
    ]
}

/// What `name`, which is no setting of `section`, was likely meant for: a setting there that is spelt alike, or the path of a
/// setting of this very name elsewhere. `section`: a path with `*` for names and indices.
pub fn meant(section: &[&str], name: &str) -> Option<String> {
    let sections = sections();
    let matches = |pattern: &str| {
        let parts: Vec<&str> = pattern.split('.').filter(|part| !part.is_empty()).collect();
        parts.len() == section.len()
            && parts
                .iter()
                .zip(section)
                .all(|(part, given)| *part == "*" || part == given)
    };
    let here = sections.iter().find(|(pattern, _)| matches(pattern));
    let alike = here.and_then(|(_, names)| nearest(name, names.iter().copied(), ALIKE));
    let elsewhere = || {
        let mut found = sections.iter().filter(|(_, names)| names.contains(&name));
        let (pattern, _) = found.next().filter(|(pattern, _)| !pattern.contains('*'))?;
        Some(match *pattern {
            "" => name.to_owned(),
            pattern => format!("{pattern}.{name}"),
        })
    };
    alike.map(str::to_owned).or_else(elsewhere)
}

/// The paths of all settings that can be set in the environment.
pub fn settings_by_variable() -> impl Iterator<Item = String> {
    let fixed = sections()
        .into_iter()
        .filter(|(pattern, _)| !pattern.contains('*'));
    fixed.flat_map(|(pattern, names)| {
        names.iter().map(move |name| match pattern {
            "" => (*name).to_owned(),
            pattern => format!("{pattern}.{name}"),
        })
    })
}

/// The name that is most like `name`, if any is alike enough.
pub fn nearest<'n>(
    name: &str,
    known: impl Iterator<Item = &'n str>,
    alike: f64,
) -> Option<&'n str> {
    let name = name.to_ascii_lowercase().replace('-', "_");
    let by_likeness = known.map(|known| (strsim::jaro_winkler(&name, known), known));
    by_likeness
        .filter(|(likeness, _)| *likeness >= alike)
        .max_by(|one, other| one.0.total_cmp(&other.0))
        .map(|(_, known)| known)
}

/// The fields of a struct, as its derived `Deserialize` asks for them.
fn fields_of<T: for<'de> Deserialize<'de>>() -> Names {
    T::deserialize(FieldsOnly)
        .err()
        .map_or(&[], |FieldNames(names)| names)
}

/// A deserializer that has no values, and answers with the names of the fields that it is asked for.
struct FieldsOnly;

#[derive(Debug)]
struct FieldNames(Names);

impl std::fmt::Display for FieldNames {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{:?}", self.0)
    }
}

impl std::error::Error for FieldNames {}

impl de::Error for FieldNames {
    fn custom<M: std::fmt::Display>(_: M) -> Self {
        Self(&[])
    }
}

impl<'de> Deserializer<'de> for FieldsOnly {
    type Error = FieldNames;

    fn deserialize_any<V: Visitor<'de>>(self, _: V) -> Result<V::Value, FieldNames> {
        Err(FieldNames(&[]))
    }

    fn deserialize_struct<V: Visitor<'de>>(
        self,
        _: &'static str,
        fields: Names,
        _: V,
    ) -> Result<V::Value, FieldNames> {
        Err(FieldNames(fields))
    }

    forward_to_deserialize_any! {
        bool i8 i16 i32 i64 i128 u8 u16 u32 u64 u128 f32 f64 char str string bytes byte_buf option unit
        unit_struct newtype_struct seq tuple tuple_struct map enum identifier ignored_any
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_misspelt_or_misplaced_setting_is_recognised() {
        for (section, name, expected) in [
            (&[][..], "sever", Some("server")),
            (&["server"], "max_inflight", Some("max_in_flight")),
            (&["server"], "max-body-bytes", Some("max_body_bytes")),
            (&["routing"], "treshold", Some("threshold")),
            (&["models", "m"], "endpoint", Some("endpoints")),
            (
                &["models", "m", "endpoints", "0"],
                "apikey",
                Some("api_key"),
            ),
            (
                &["auth", "keys", "0"],
                "request_per_minute",
                Some("requests_per_minute"),
            ),
            (&["server", "tls"], "certt", Some("cert")),
            (&[], "max_in_flight", Some("server.max_in_flight")),
            (&["routing"], "deadline_ms", Some("classifier.deadline_ms")),
            (&["server"], "colour", None),
            (&["nowhere"], "x", None),
            (&["auth", "keys", "0"], "sk-abc", None),
        ] {
            assert_eq!(meant(section, name).as_deref(), expected, "{name}");
        }
    }

    #[test]
    fn every_section_has_fields() {
        for (pattern, names) in sections() {
            assert!(!names.is_empty(), "{pattern}");
        }
    }
}
