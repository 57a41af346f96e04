//! Property tests: an edit changes only the fields that it names, for any body.

use bytes::Bytes;
use proptest::prelude::*;
use serde_json::{Map, Value, json};
use thinkgate::{
    api::{ChatRequest, SseScanner, apply},
    routing::family,
};

fn value() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        any::<String>().prop_map(Value::from),
    ];
    leaf.prop_recursive(3, 24, 4, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..4).prop_map(Value::from),
            prop::collection::btree_map(any::<String>(), inner, 0..4)
                .prop_map(|map| Value::Object(map.into_iter().collect())),
        ]
    })
}

/// An object with members of every kind, reasoning fields among them.
fn body() -> impl Strategy<Value = Map<String, Value>> {
    let ours = prop_oneof![
        Just("temperature".to_owned()),
        Just("thinking".to_owned()),
        Just("reasoning".to_owned()),
        Just("reasoning_effort".to_owned()),
        any::<String>(),
    ];
    let kwargs = prop_oneof![
        Just(None),
        Just(Some(Value::Null)),
        prop::collection::btree_map("[a-z_]{1,8}|enable_thinking|thinking", value(), 0..3)
            .prop_map(|map| Some(Value::Object(map.into_iter().collect()))),
    ];
    (
        prop::collection::btree_map(ours, value(), 0..6),
        kwargs,
        any::<String>(),
    )
        .prop_map(|(map, kwargs, prompt)| {
            let mut body: Map<String, Value> = map.into_iter().collect();
            body.remove("model");
            body.remove("chat_template_kwargs");
            body.extend(kwargs.map(|kwargs| ("chat_template_kwargs".to_owned(), kwargs)));
            body.insert(
                "messages".into(),
                json!([{"role": "user", "content": prompt}]),
            );
            body
        })
}

/// Applies a change, the slow and obvious way.
fn set(body: &mut Map<String, Value>, path: &[&str], to: Value) {
    match path {
        [key] => {
            body.insert((*key).to_owned(), to);
        }
        [key, rest @ ..] => {
            let inner = body.entry(*key).or_insert_with(|| json!({}));
            if !inner.is_object() {
                *inner = json!({});
            }
            set(inner.as_object_mut().unwrap(), rest, to);
        }
        [] => {}
    }
}

proptest! {
    #[test]
    fn an_edit_sets_its_fields_and_keeps_all_others(body in body(), pretty: bool, row in 0..family::all().count(), on: bool) {
        let text = match pretty {
            true => serde_json::to_string_pretty(&body).unwrap(),
            false => serde_json::to_string(&body).unwrap(),
        };
        let family = family::all().nth(row).unwrap();
        let changes = if on { family.reasoning } else { family.direct };
        let request = ChatRequest::read(Bytes::from(text)).unwrap();
        let edited: Map<String, Value> = serde_json::from_slice(&apply(&request, changes).into_bytes()).unwrap();
        let mut wanted = body;
        for change in changes {
            use thinkgate::api::Change;
            match change {
                Change::Set(path, json) => set(&mut wanted, path, serde_json::from_str(json).unwrap()),
                Change::LastUser(text) => {
                    let content = &mut wanted["messages"][0]["content"];
                    *content = format!("{}{text}", content.as_str().unwrap()).into();
                }
                Change::System(text) => {
                    let messages = wanted["messages"].as_array_mut().unwrap();
                    messages.insert(0, json!({"role": "system", "content": text}));
                }
                Change::Model(name) => set(&mut wanted, &["model"], name.as_str().into()),
            }
        }
        prop_assert_eq!(edited, wanted);
    }

    #[test]
    fn no_body_makes_the_reader_panic(body in prop::collection::vec(any::<u8>(), 0..200)) {
        let _ = ChatRequest::read(Bytes::from(body)).map(|request| request.messages().map(|all| all.count()));
    }

    #[test]
    fn a_stream_reads_the_same_however_it_is_split(
        lines in prop::collection::vec("(data: (\\[DONE\\]|\\{\"usage\":\\{\"prompt_tokens\":[1-9]\\}\\}|x{0,9})|: ?ping|event: error|)", 0..8),
        ends in prop::collection::vec(prop_oneof![Just("\n"), Just("\r\n"), Just("\r")], 8),
        cut in 0usize..300,
    ) {
        let text: String = lines.iter().zip(&ends).map(|(line, end)| format!("{line}{end}")).collect();
        let cut = cut.min(text.len());
        let (mut whole, mut parts) = (SseScanner::default(), SseScanner::default());
        whole.scan(text.as_bytes());
        parts.scan(&text.as_bytes()[..cut]);
        parts.scan(&text.as_bytes()[cut..]);
        prop_assert_eq!(
            (whole.at_boundary(), whole.is_terminated(), whole.usage()),
            (parts.at_boundary(), parts.is_terminated(), parts.usage())
        );
    }
}
