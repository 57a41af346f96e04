//! Fuzzes the Envoy door: for any messages of a stream, Envoy can accept the replies.
#![no_main]

mod envoy;
mod script;

use std::sync::{Arc, LazyLock};

use libfuzzer_sys::fuzz_target;
use thinkgate::{
    app,
    config::Config,
    ext_proc::{ReplyQueue, RequestSession},
    state::AppState,
};
use tokio::runtime::{Builder, Runtime};

use envoy::Envoy;
use script::Script;

/// The gateways, and the runtime they run on.
struct Gateways {
    runtime: Runtime,
    plain: Arc<AppState>,
    keyed: Arc<AppState>,
    open: Arc<AppState>,
}

static GATEWAYS: LazyLock<Gateways> = LazyLock::new(|| {
    let models = "
server: { max_body_bytes: 100000 }
models:
  Qwen3-tiny: {}
  renamed: { endpoints: [{ url: 'http://127.0.0.1:1', model: Qwen/Qwen3-8B }] }
  oss: { family: gpt_oss }
  talker: { family: never }
aliases:
  auto: { reasoning: oss, direct: talker, unchanged: talker }
";
    let keys = "
auth:
  keys:
    - { name: all, key: 'sha256:9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08' }    # test
    - { name: some, key: 'sha256:a6b46dd0d1ae5e86cbc8f37e75ceeb6760230c1ca4ffbcb0c97b96dd7d9c464b', models: [auto] }    # some
";
    let state = |yaml: &str| {
        let mut config =
            Config::from_yaml(&format!("ext_proc: {{ listen: '127.0.0.1:0' }}\n{yaml}"))
                .expect(yaml);
        config.classifier.model =
            concat!(env!("CARGO_MANIFEST_DIR"), "/../fixtures/models/tiny").into();
        config.classifier.threads = 1;
        Arc::new(app::build(config).expect("scripts/setup has run"))
    };
    Gateways {
        plain: state(models),
        keyed: state(&format!("{models}{keys}")),
        open: state("server: { max_body_bytes: 100000 }"),
        runtime: Builder::new_current_thread()
            .enable_all()
            .build()
            .expect("a runtime"),
    }
});

fuzz_target!(|input: &[u8]| {
    let script = Script::read(input);
    let state = match (script.is_keyed, script.is_open) {
        (true, _) => &GATEWAYS.keyed,
        (_, true) => &GATEWAYS.open,
        _ => &GATEWAYS.plain,
    };
    let mut envoy = Envoy::default();
    let mut session = RequestSession::new(state.clone());
    for message in script.messages {
        envoy.on_message(&message);
        let mut replies = ReplyQueue::new();
        GATEWAYS
            .runtime
            .block_on(session.on_message(message.clone(), &mut replies));
        envoy.on_replies(&message, replies.make_contiguous(), session.is_over());
        if session.is_over() {
            break; // the stream ends here
        }
    }
    if envoy.is_forwarded() {
        let is_json = |body: &[u8]| serde_json::from_slice::<serde::de::IgnoredAny>(body).is_ok();
        let (original, forwarded) = (&envoy.original, &envoy.forwarded);
        assert!(
            original == forwarded || is_json(forwarded),
            "{}",
            String::from_utf8_lossy(forwarded)
        );
        assert_eq!(
            original.is_empty(),
            forwarded.is_empty(),
            "a body is lost or invented"
        );
    }
    drop(session);
    assert_eq!(state.concurrency.in_use(), 0, "a permit was not released");
});
