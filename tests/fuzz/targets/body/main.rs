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
    let original = Members::read(&body).expect("an accepted body is a JSON object");
    if request.messages().is_err() {
        return; // refused before any edit
    }
    assert_eq!(apply(&request, &[]), body);
    for changes in &*CHANGES {
        let edited = apply(&request, changes);
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
        let edited = named.rename(body, "another/\"model\\");
        let original = Members::read(body).expect("a name is only found in a JSON object");
        let wanted = original.changed(&[Change::Model("another/\"model\\".into())]);
        assert_eq!(Members::read(&edited), Some(wanted));
    }
    let upload = Some("multipart/form-data; boundary=x");
    if let Ok(Some(named)) = ModelField::find(upload, body) {
        let edited = named.rename(body, "another");
        assert_eq!(
            edited.len() + named.name.len(),
            body.len() + "another".len()
        );
        let again = ModelField::find(upload, &edited).expect("still one name");
        assert_eq!(again.expect("still a name").name, "another");
    }
}
