//! Where a setting was set: its path in the file, and the file, variable or flag itself.

use std::collections::{BTreeMap, BTreeSet};

use figment::{Figment, Metadata, Source};
use serde_ignored::Path;
use serde_path_to_error::Segment;

use super::did_you_mean::meant;

/// The list elements that were removed, by the path of the list. The elements behind a removed one have moved up.
#[derive(Debug, Default)]
pub struct RemovedIndices(BTreeMap<String, BTreeSet<usize>>);

impl RemovedIndices {
    /// Records that the value at `path` was removed. Only list elements matter.
    pub fn record(&mut self, path: &[&Segment]) {
        let Some((Segment::Seq { index }, list)) = path.split_last() else {
            return;
        };
        let list: Vec<String> = list.iter().map(|segment| segment.to_string()).collect();
        let list = self.path_in_file(&list.join(".").replace(".[", "["));
        let index = self.index(&list, *index);
        self.0.entry(list).or_default().insert(index);
    }

    /// Converts a path after the removals to the path in the file.
    pub fn path_in_file(&self, path: &str) -> String {
        let mut pieces = path.split('[');
        let mut in_file = pieces.next().unwrap_or_default().to_owned();
        for piece in pieces {
            let element = piece
                .split_once(']')
                .and_then(|(index, rest)| Some((self.index(&in_file, index.parse().ok()?), rest)));
            in_file += &match element {
                Some((index, rest)) => format!("[{index}]{rest}"),
                None => format!("[{piece}"), // part of a name
            };
        }
        in_file
    }

    fn index(&self, list: &str, index: usize) -> usize {
        let removed = self.0.get(list).into_iter().flatten();
        removed.fold(index, |index, removed| {
            index + usize::from(*removed <= index)
        })
    }
}

/// Returns true for a path where keys belong. A wrong value there may be a key.
pub fn may_hold_keys(path: &str) -> bool {
    let mut names = path.split(['.', '[']).enumerate();
    names.any(|(depth, name)| name == "api_key" || (depth == 0 && name == "auth"))
}

/// The path and the message for a setting that does not exist. Where keys belong, its name may be a key and is not repeated; the name
/// of the setting that it is spelt like may be, as no key is spelt like one.
pub fn unknown_setting(path: &Path<'_>) -> (String, String) {
    let meant = match path {
        Path::Map { parent, key } => {
            let section = parts(parent);
            let section: Vec<&str> = section.iter().map(String::as_str).collect();
            meant(&section, key)
        }
        _ => None,
    };
    let hint = match meant {
        Some(meant) => format!("did you mean `{meant}`?"),
        None => "see configs/default.yaml".to_owned(),
    };
    match path {
        Path::Map { parent, .. } if may_hold_keys(&dotted(parent)) => (
            dotted(parent),
            format!("a name in it is no setting, and is not repeated as it may be a key; {hint}"),
        ),
        path => (dotted(path), format!("is no setting; {hint}")),
    }
}

/// The names and indices of a path.
fn parts(path: &Path<'_>) -> Vec<String> {
    let joined = |parent: &Path<'_>, part: String| {
        let mut parts = parts(parent);
        parts.push(part);
        parts
    };
    match path {
        Path::Root => Vec::new(),
        Path::Seq { parent, index } => joined(parent, index.to_string()),
        Path::Map { parent, key } => joined(parent, key.clone()),
        Path::Some { parent }
        | Path::NewtypeStruct { parent }
        | Path::NewtypeVariant { parent } => parts(parent),
    }
}

fn dotted(path: &Path<'_>) -> String {
    fn join(path: &Path<'_>) -> String {
        match path {
            Path::Root => String::new(),
            Path::Seq { parent, index } => format!("{}[{index}]", join(parent)),
            Path::Map { parent, key } => match join(parent) {
                parent if parent.is_empty() => key.clone(),
                parent => format!("{parent}.{key}"),
            },
            Path::Some { parent }
            | Path::NewtypeStruct { parent }
            | Path::NewtypeVariant { parent } => join(parent),
        }
    }
    match join(path) {
        path if path.is_empty() => "\"\"".into(), // a key without a name
        path => path,
    }
}

/// The source of the value at `path`, such as ` (in config.yaml)`. A missing value has the source of the section around it. The
/// text is empty if that is set nowhere.
pub fn source(path: &str, figment: &Figment) -> String {
    let describe = |metadata: &Metadata| match &metadata.source {
        Some(Source::Code(_)) => " (on the command line)".to_owned(),
        Some(source) => format!(" (in {source})"),
        None => format!(" (in the {})", metadata.name),
    };
    let mut path = path;
    loop {
        match (figment.find_metadata(path), path.rfind(['.', '['])) {
            (Some(metadata), _) => return describe(metadata),
            (None, Some(end)) => path = &path[..end], // at a character of one byte
            (None, None) => return String::new(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_element_keeps_its_index_when_elements_before_it_are_removed() {
        let key = |key: &str| Segment::Map { key: key.into() };
        let (models, list) = (key("models"), key("list"));
        let mut removed = RemovedIndices::default();
        for index in [1, 1, 0] {
            removed.record(&[&models, &list, &Segment::Seq { index }]);
        }
        // Removed are 1, then the former 2, then 0. So the element at 0 now was at 3.
        assert_eq!(
            removed.path_in_file("models.list[0].url"),
            "models.list[3].url"
        );
        assert_eq!(removed.path_in_file("models.list[4]"), "models.list[7]");
        assert_eq!(
            removed.path_in_file("models.other[0].x[1]"),
            "models.other[0].x[1]"
        );
        assert_eq!(removed.path_in_file("models.a[b.c[1"), "models.a[b.c[1");
    }
}
