//! Where a setting stands: its path as it was written, and the file, variable or flag it came from.

use std::collections::{BTreeMap, BTreeSet};

use figment::{Figment, Metadata, Source};
use serde_ignored::Path;
use serde_path_to_error::Segment;

/// The elements of lists that were left out, by the path of the list. Those behind one have moved up.
#[derive(Debug, Default)]
pub struct Gaps(BTreeMap<String, BTreeSet<usize>>);

impl Gaps {
    /// Notes that the element at the end of `path` is left out.
    pub fn note(&mut self, path: &[&Segment]) {
        let Some((Segment::Seq { index }, list)) = path.split_last() else {
            return;
        };
        let list: Vec<String> = list.iter().map(|segment| segment.to_string()).collect();
        let list = self.as_written(&list.join(".").replace(".[", "["));
        let index = self.index(&list, *index);
        self.0.entry(list).or_default().insert(index);
    }

    /// The path that an element has in the file.
    pub fn as_written(&self, path: &str) -> String {
        let mut pieces = path.split('[');
        let mut written = pieces.next().unwrap_or_default().to_owned();
        for piece in pieces {
            let shown = piece
                .split_once(']')
                .and_then(|(index, rest)| Some((self.index(&written, index.parse().ok()?), rest)));
            written += &match shown {
                Some((index, rest)) => format!("[{index}]{rest}"),
                None => format!("[{piece}"), // part of a name
            };
        }
        written
    }

    fn index(&self, list: &str, shown: usize) -> usize {
        let gaps = self.0.get(list).into_iter().flatten();
        gaps.fold(shown, |index, gap| index + usize::from(*gap <= index))
    }
}

/// True of a path where keys belong, or of a part of one: what stands there in the wrong way may be a key.
pub fn holds_keys(path: &str) -> bool {
    let mut names = path.split(['.', '[']).enumerate();
    names.any(|(depth, name)| name == "api_key" || (depth == 0 && name == "auth"))
}

/// What is said of a setting that nothing reads, and by which path. Its name may be a key itself where keys belong, and is then
/// not repeated.
pub fn unread(path: &Path<'_>) -> (String, &'static str) {
    match path {
        Path::Map { parent, .. } if holds_keys(&dotted(parent)) => (
            dotted(parent),
            "a name in it is no setting, and is not repeated as it may be a key; see configs/default.yaml",
        ),
        path => (dotted(path), "is no setting; see configs/default.yaml"),
    }
}

fn dotted(path: &Path<'_>) -> String {
    fn told(path: &Path<'_>) -> String {
        match path {
            Path::Root => String::new(),
            Path::Seq { parent, index } => format!("{}[{index}]", told(parent)),
            Path::Map { parent, key } => match told(parent) {
                parent if parent.is_empty() => key.clone(),
                parent => format!("{parent}.{key}"),
            },
            Path::Some { parent }
            | Path::NewtypeStruct { parent }
            | Path::NewtypeVariant { parent } => told(parent),
        }
    }
    match told(path) {
        path if path.is_empty() => "\"\"".into(), // a key without a name
        path => path,
    }
}

/// Where the value at `path` came from, or what it is part of, with a blank in front; nothing when it was written nowhere.
pub fn source(path: &str, figment: &Figment) -> String {
    let said = |metadata: &Metadata| match &metadata.source {
        Some(Source::Code(_)) => " (on the command line)".to_owned(),
        Some(source) => format!(" (in {source})"),
        None => format!(" (in the {})", metadata.name),
    };
    let mut path = path;
    loop {
        match (figment.find_metadata(path), path.rfind(['.', '['])) {
            (Some(metadata), _) => return said(metadata),
            (None, Some(end)) => path = &path[..end], // at a character of one byte
            (None, None) => return String::new(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_element_keeps_its_place_when_those_before_it_are_left_out() {
        let key = |key: &str| Segment::Map { key: key.into() };
        let (models, list) = (key("models"), key("list"));
        let mut gaps = Gaps::default();
        for shown in [1, 1, 0] {
            gaps.note(&[&models, &list, &Segment::Seq { index: shown }]);
        }
        // 1 went, then what had been 2, then 0: what is shown as 0 is 3.
        assert_eq!(gaps.as_written("models.list[0].url"), "models.list[3].url");
        assert_eq!(gaps.as_written("models.list[4]"), "models.list[7]");
        assert_eq!(
            gaps.as_written("models.other[0].x[1]"),
            "models.other[0].x[1]"
        );
        assert_eq!(gaps.as_written("models.a[b.c[1"), "models.a[b.c[1");
    }
}
