//! The editor of request bodies: what goes on is what came, but for the fields that a change names.
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

/// Every list of changes that a family makes, once; and another model.
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
    let came = Members::read(&body).expect("what is taken for a JSON object is one");
    if request.messages().is_err() {
        return; // refused before anything is changed
    }
    assert_eq!(apply(&request, &[]), body);
    for changes in &*CHANGES {
        let goes = apply(&request, changes);
        let told = || format!("{changes:?}\n{}", String::from_utf8_lossy(&goes));
        let goes = Members::read(&goes).unwrap_or_else(|| panic!("no JSON: {}", told()));
        let wanted = came.changed(changes);
        assert!(goes.are(&wanted, changes), "{}\nwanted {wanted:?}", told());
    }
});

/// A request that is not judged, whose model gets another name.
fn renamed(body: &Bytes) {
    if let Ok(Some(named)) = ModelField::find(Some("application/json"), body) {
        let goes = named.rename(body, "another/\"model\\");
        let came = Members::read(body).expect("a name is found in a JSON object only");
        let wanted = came.changed(&[Change::Model("another/\"model\\".into())]);
        assert_eq!(Members::read(&goes), Some(wanted));
    }
    let upload = Some("multipart/form-data; boundary=x");
    if let Ok(Some(named)) = ModelField::find(upload, body) {
        let goes = named.rename(body, "another");
        assert_eq!(goes.len() + named.name.len(), body.len() + "another".len());
        let again = ModelField::find(upload, &goes).expect("still one name");
        assert_eq!(again.expect("still a name").name, "another");
    }
}
