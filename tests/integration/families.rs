//! Golden files: for every family, the exact body that is sent in each mode.

use std::fmt::Write;

use thinkgate::{
    api::{ChatRequest, apply},
    routing::family,
};

use super::support::fixture;

/// A request with every field that a switch may change.
const REQUEST: &str = r#"{"model": "m", "messages": [{"role": "system", "content": "Be kind."}, {"role": "user", "content": "2 + 2?"}], "temperature": 1.0}"#;

#[test]
fn the_exact_body_of_every_family_and_mode() {
    let mut rows = std::collections::BTreeMap::<&str, String>::new();
    for family in family::all() {
        let page = rows.entry(family.id).or_default();
        let names = if family.names.is_empty() {
            "(named in the configuration)".into()
        } else {
            family.names.join(", ")
        };
        writeln!(
            page,
            "names: {names}\ndefault: {:?}\nefforts: {}",
            family.default,
            family.efforts.join(" ")
        )
        .unwrap();
        let request = ChatRequest::read(REQUEST.into()).unwrap();
        for (mode, changes) in [("reasoning", family.reasoning), ("direct", family.direct)] {
            let body = String::from_utf8(apply(&request, changes).into_bytes().to_vec()).unwrap();
            assert_eq!(changes.is_empty(), body == REQUEST, "{}", family.id);
            serde_json::from_str::<serde_json::Value>(&body).unwrap();
            writeln!(page, "{mode}: {body}").unwrap();
        }
        page.push('\n');
    }
    for (id, page) in rows {
        insta::with_settings!({ snapshot_path => fixture("families"), prepend_module_to_snapshot => false, omit_expression => true }, {
            insta::assert_snapshot!(id, page);
        });
    }
}
