//! Fuzzes the editor of request bodies: an edit must change only the fields that it names.
#![no_main]

mod members;

use std::sync::LazyLock;

use bytes::Bytes;
use libfuzzer_sys::fuzz_target;
use thinkgate::{
    api::{Change, ChatRequest, ModelField, apply},
    routing::family,
};

use members::Members;

/// Every distinct list of changes of a family, and another model.
static CHANGES: LazyLock<Vec<Vec<Change>>> = LazyLock::new(|| {
    let mut lists = vec![vec![Change::Model("another/\"model\\".into())]];
    for changes in family::all().flat_map(|family| [family.reasoning, family.direct]) {
        let mut changes = changes.to_vec();
        changes.push(Change::Model("b".into()));
        if !lists.contains(&changes) {
            lists.push(changes);
        }
    }
    lists
});

fuzz_target!(|body: &[u8]| {
    let body = Bytes::copy_from_slice(body);
    renamed(&body);
    let Ok(request) = ChatRequest::read(body.clone()) else {
        return;
    };
    assert_eq!(apply(&request, &[]).into_bytes(), body);
    let Some(original) = Members::read(&body) else {
        assert!(is_beyond_the_standard(&body), "{:?}", request.text());
        return;
    };
    let messages = request
        .messages()
        .map(|mut all| all.all(|message| message.is_ok()));
    if messages != Ok(true) {
        return; // refused before any edit
    }
    for changes in &*CHANGES {
        let edited = apply(&request, changes).into_bytes();
        let shown = || format!("{changes:?}\n{}", String::from_utf8_lossy(&edited));
        let edited = Members::read(&edited).unwrap_or_else(|| panic!("no JSON: {}", shown()));
        let wanted = original.changed(changes);
        assert!(
            edited.equal(&wanted, changes),
            "{}\nwanted {wanted:?}",
            shown()
        );
    }
});

/// Renames the model of a request that is not judged.
fn renamed(body: &Bytes) {
    if let Ok(Some(named)) = ModelField::find(Some("application/json"), body) {
        let edited = named.rename(body, "another/\"model\\").into_bytes();
        let Some(original) = Members::read(body) else {
            assert!(is_beyond_the_standard(body));
            return;
        };
        let wanted = original.changed(&[Change::Model("another/\"model\\".into())]);
        assert_eq!(Members::read(&edited), Some(wanted));
    }
}

/// True for what Python takes for JSON and serde does not: a byte order mark, numbers that are not finite, half of a surrogate pair.
fn is_beyond_the_standard(body: &[u8]) -> bool {
    let contains = |word: &[u8]| body.windows(word.len()).any(|window| window == word);
    body.starts_with(b"\xef\xbb\xbf")
        || [&b"NaN"[..], b"Infinity", b"\\ud", b"\\uD"]
            .iter()
            .any(|word| contains(word))
}
