//! `thinkgate demo`: runs the gateway in front of a built-in model server, to try it without a GPU.

use std::net::{Ipv4Addr, SocketAddr};

use anyhow::Context;
use tokio::net::TcpListener;

use super::{
    load_config, model_server,
    serve::{block_on, serve},
};
use crate::{
    config::{Config, Flags, LogFormat},
    telemetry,
};

/// A question that needs thought.
const HARD: &str = "Prove that the sum of two odd numbers is even.";
/// A question that needs none.
const EASY: &str = "What time do you open on Sundays?";

/// Runs the model server and the gateway, and prints commands to try.
pub fn run(listen: Option<String>) -> anyhow::Result<()> {
    let mut config = load_config(&Flags {
        listen,
        ..Flags::default()
    })?;
    config.telemetry.format = LogFormat::Text;
    let _telemetry = telemetry::start(&config.telemetry)?;
    block_on(demo(config))
}

async fn demo(mut config: Config) -> anyhow::Result<()> {
    let listener = TcpListener::bind(SocketAddr::from((Ipv4Addr::LOCALHOST, 0))).await?;
    let url = format!("http://{}", listener.local_addr()?);
    config.discover = vec![crate::config::Discover {
        url: crate::config::BaseUrl::parse(&url).map_err(anyhow::Error::msg)?,
        api_key: None,
    }];
    let model_server = async {
        axum::serve(listener, model_server::routes())
            .await
            .context("the demo's model server")
    };
    tokio::select! {
        served = serve(config, None, print_welcome) => served,
        failed = model_server => failed,
    }
}

fn print_welcome(address: SocketAddr) {
    let curl = |question: &str| {
        format!(
            "  curl -si http://{address}/v1/chat/completions -H 'content-type: application/json' \\\n    \
             -d '{{\"model\": \"{}\", \"messages\": [{{\"role\": \"user\", \"content\": \"{question}\"}}]}}'",
            model_server::MODEL
        )
    };
    println!(
        "thinkgate demo is at http://{address}\n\n\
         Behind it is a small model server that obeys `enable_thinking` as Qwen3 on vLLM does, and says so.\n\n\
         This one thinks (x-thinkgate-mode: reasoning):\n\n{}\n\nThis one does not (x-thinkgate-mode: direct):\n\n{}\n\n\
         Add \"stream\": true to watch it arrive. Ctrl-C ends the demo.\n",
        curl(HARD),
        curl(EASY)
    );
}
