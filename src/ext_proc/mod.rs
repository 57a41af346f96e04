//! Front door 2: Envoy, as its external processor (`envoy.service.ext_proc.v3`) over gRPC.
//!
//! Envoy keeps the connections to clients and servers; we see a request's head and body, answer with the head and body that
//! go on, and see the head of the answer. Bodies of answers do not pass through here. One gRPC stream is one HTTP request,
//! and one [`Exchange`].

mod body;
mod delivery;
mod headers;
mod mode;
mod mutation;
mod prepare;
mod session;
mod stage;

use std::{pin::Pin, time::Duration};

use envoy_types::pb::envoy::service::ext_proc::v3::{
    ProcessingRequest, ProcessingResponse,
    external_processor_server::{ExternalProcessor, ExternalProcessorServer},
};
use futures_util::{Stream, stream};
use tokio_util::sync::CancellationToken;
use tonic::{Request, Response, Status, Streaming, async_trait, service::Routes};
use tonic_health::{ServingStatus, server::HealthReporter};

pub use self::{delivery::Answers, session::Exchange};
use crate::{config::ExtProc, state::StateHandle};

/// How often the health that Envoy asks for is brought up to date.
const HEALTH: Duration = Duration::from_millis(500);

/// The Envoy door of one gateway, with the standard health service (`grpc.health.v1`).
pub fn routes(state_handle: StateHandle, settings: &ExtProc) -> (axum::Router, Health) {
    let (reporter, health) = tonic_health::server::health_reporter();
    let processor = ExternalProcessorServer::new(Processor {
        state_handle: state_handle.clone(),
    })
    .max_decoding_message_size(settings.max_message_bytes);
    let routes = Routes::new(health).add_service(processor).prepare();
    (
        routes.into_axum_router(),
        Health {
            state_handle,
            reporter,
        },
    )
}

/// Keeps the health service true.
#[derive(Debug)]
pub struct Health {
    state_handle: StateHandle,
    reporter: HealthReporter,
}

impl Health {
    /// StateHandle while the gateway is ready, and not from `stop` on.
    pub async fn report(self, stop: CancellationToken) {
        let mut ticks = tokio::time::interval(HEALTH);
        loop {
            tokio::select! {
                _ = ticks.tick() => self.say(self.state_handle.load().pending().is_empty()).await,
                () = stop.cancelled() => return self.say(false).await,
            }
        }
    }

    async fn say(&self, is_ready: bool) {
        let status = match is_ready {
            true => ServingStatus::Serving,
            false => ServingStatus::NotServing,
        };
        // The empty name stands for the whole server.
        for service in ["", "envoy.service.ext_proc.v3.ExternalProcessor"] {
            self.reporter.set_service_status(service, status).await;
        }
    }
}

struct Processor {
    state_handle: StateHandle,
}

type Said = Pin<Box<dyn Stream<Item = Result<ProcessingResponse, Status>> + Send>>;

#[async_trait]
impl ExternalProcessor for Processor {
    type ProcessStream = Said;

    async fn process(
        &self,
        request: Request<Streaming<ProcessingRequest>>,
    ) -> Result<Response<Said>, Status> {
        // In a box, because it is moved for every answer.
        let talk = Box::new(Talk {
            messages: request.into_inner(),
            exchange: Exchange::new(self.state_handle.load()),
            answers: Answers::with_capacity(2),
        });
        // No task and no channel: the stream is polled while Envoy listens, and dropping it drops what it waits for.
        let answers = stream::unfold(Some(talk), |talk| async { talk?.next().await });
        Ok(Response::new(Box::pin(answers)))
    }
}

/// A gRPC stream and what is said on it.
struct Talk {
    messages: Streaming<ProcessingRequest>,
    exchange: Exchange,
    answers: Answers,
}

impl Talk {
    /// The next answer. Between answers as many messages are read as it takes.
    async fn next(
        mut self: Box<Self>,
    ) -> Option<(Result<ProcessingResponse, Status>, Option<Box<Self>>)> {
        loop {
            if let Some(answer) = self.answers.pop_front() {
                return Some((Ok(answer), Some(self)));
            }
            if self.exchange.is_over() {
                return None;
            }
            match self.messages.message().await {
                Ok(Some(message)) => self.exchange.hear(message, &mut self.answers).await,
                Ok(None) => return None,
                Err(status) => return Some((Err(status), None)), // Envoy left, or sent a message over the limit
            }
        }
    }
}
