//! What a server receives for an odd path and query: the same but for percent-encoding, or nothing.

use std::{collections::HashMap, sync::Arc};

use percent_encoding::percent_decode;
use proptest::{
    prelude::*,
    sample::select,
    strategy::ValueTree,
    test_runner::{Config, TestRunner},
};
use tokio::task::JoinSet;

use super::support::{Gateway, Server, http::exchange};

const PATHS: usize = 10_000;

/// Characters that a URL, a server or a proxy could take for something else, as bytes of a request line.
const ODD: &[u8] = b"a Z 0 - _ ~ / // . .. /./ /../ /.. %2e %2E%2e /%2e./ %2f %5C \\ /\\ % %% %2 %zz %00 %0a %20 %25 %252e \
    %c3%a9 %ff ' \" ` { } < > | ^ [ ] @ : ;=&+,$!*() \xc3\xa9 \xff \x7f";

/// Those of them that a URL may encode, but may not read as anything else.
const PLAIN: &[u8] = b"a Z 0 - _ ~ / %2f %20 %25 %252e %c3%a9 ' { | \xc3\xa9";

/// What may be in a query as well.
const IN_QUERY: &[u8] = b"? = & # #a \xe2\x82\xac";

/// Some of these pieces in a row.
fn odd(sets: &[&'static [u8]]) -> impl Strategy<Value = Vec<u8>> + use<> {
    let pieces = sets.iter().flat_map(|set| set.split(|byte| *byte == b' '));
    prop::collection::vec(select(pieces.collect::<Vec<_>>()), 0..8)
        .prop_map(|pieces| pieces.concat())
}

/// A path that may be on a list, and a query.
fn target() -> impl Strategy<Value = Vec<u8>> {
    let start = select(vec![
        "/v1/files/",
        "/v1/",
        "/v1/responses/x",
        "/tokenize",
        "/",
    ]);
    let path = prop_oneof![odd(&[ODD]), odd(&[PLAIN])];
    let query = prop_oneof![odd(&[ODD, IN_QUERY]), odd(&[PLAIN])];
    (start, path, proptest::option::of(query)).prop_map(|(start, path, query)| {
        let query = query.map(|query| [b"?", &*query].concat());
        [start.as_bytes(), &path, &query.unwrap_or_default()].concat()
    })
}

fn decoded(target: &[u8]) -> Vec<u8> {
    // A client does not send what follows `#`; the HTTP library leaves it out.
    let end = target.iter().position(|byte| *byte == b'#');
    percent_decode(&target[..end.unwrap_or(target.len())]).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_gets_the_path_and_query_of_the_client_but_for_percent_encoding_or_nothing() {
    let mut runner = TestRunner::new(Config::default());
    let targets: Vec<Vec<u8>> = (0..PATHS)
        .map(|_| target().new_tree(&mut runner).unwrap().current())
        .collect();
    let targets = Arc::new(targets);
    let server = Server::friendly().await;
    let gateway = Gateway::before(&server).await;
    let mut senders = JoinSet::new();
    for sender in 0..16 {
        let (targets, to) = (targets.clone(), gateway.address);
        senders.spawn(async move {
            let mut statuses = Vec::new();
            for (number, target) in targets.iter().enumerate().skip(sender).step_by(16) {
                let rest = format!(
                    " HTTP/1.1\r\nhost: gate\r\nconnection: close\r\nx-request-id: {number}\r\n\r\n"
                );
                let request = [b"GET ", &**target, rest.as_bytes()].concat();
                statuses.push((number, exchange(to, &request).await.status));
            }
            statuses
        });
    }
    let statuses: HashMap<usize, u16> = senders.join_all().await.into_iter().flatten().collect();

    let mut received = HashMap::new();
    for arrived in server.arrived() {
        let number: usize = arrived.header("x-request-id").unwrap().parse().unwrap();
        let target = arrived.line.split(' ').nth(1).unwrap().to_owned();
        assert!(received.insert(number, target).is_none(), "sent twice");
    }
    for (number, sent) in targets.iter().enumerate() {
        let sent_text = String::from_utf8_lossy(sent);
        match (statuses[&number], received.get(&number)) {
            (200, Some(received)) => {
                assert_eq!(decoded(received.as_bytes()), decoded(sent), "{sent_text}");
            }
            // A list of models, and the gateway's own pages, are answered here.
            (200, None) => assert!(sent_text.starts_with("/v1/models"), "{sent_text}"),
            (400 | 404 | 405 | 501, None) => {}
            outcome => panic!("{sent_text}: {outcome:?}"),
        }
    }
    assert!(received.len() > PATHS / 4, "{} passed", received.len());
}
