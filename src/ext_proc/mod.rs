//! Front door 2: Envoy, as its external processor (`envoy.service.ext_proc.v3`) over gRPC.
//!
//! Envoy keeps the connections to clients and servers. It shows us a request's headers and body, and we reply with the headers
//! and body to forward. It also shows us the headers of the response, but not its body. One gRPC stream is one HTTP request and
//! one [`RequestSession`].

mod headers;
mod mode;
mod mutation;
mod phase;
mod prepare;
mod reply;
mod session;
mod source;

use std::{future::pending, pin::Pin, time::Duration};

use envoy_types::pb::envoy::service::ext_proc::v3::{
    ProcessingRequest, ProcessingResponse,
    external_processor_server::{ExternalProcessor, ExternalProcessorServer},
};
use futures_util::{Stream, stream};
use tokio::time::sleep_until;
use tokio_util::sync::CancellationToken;
use tonic::{Request, Response, Status, Streaming, async_trait, service::Routes};
use tonic_health::{ServingStatus, server::HealthReporter};

pub use self::{reply::ReplyQueue, session::RequestSession};
use crate::{config::ExtProc, state::StateHandle};

/// How often the health service is brought up to date.
const HEALTH_INTERVAL: Duration = Duration::from_millis(500);

/// The Envoy door of one gateway, with the standard health service (`grpc.health.v1`).
pub fn routes(state_handle: StateHandle, settings: &ExtProc) -> (axum::Router, HealthUpdater) {
    let (reporter, health) = tonic_health::server::health_reporter();
    let processor = ExternalProcessorServer::new(Processor {
        state_handle: state_handle.clone(),
    })
    .max_decoding_message_size(settings.max_message_bytes);
    let routes = Routes::new(health).add_service(processor).prepare();
    (
        routes.into_axum_router(),
        HealthUpdater {
            state_handle,
            reporter,
        },
    )
}

/// Keeps the gRPC health service up to date.
#[derive(Debug)]
pub struct HealthUpdater {
    state_handle: StateHandle,
    reporter: HealthReporter,
}

impl HealthUpdater {
    /// Reports SERVING while the gateway is ready, and NOT_SERVING from `stop` on.
    pub async fn run(self, stop: CancellationToken) {
        let mut ticks = tokio::time::interval(HEALTH_INTERVAL);
        loop {
            tokio::select! {
                _ = ticks.tick() => self.set_serving(self.state_handle.load().pending().is_empty()).await,
                () = stop.cancelled() => return self.set_serving(false).await,
            }
        }
    }

    async fn set_serving(&self, is_ready: bool) {
        let status = match is_ready {
            true => ServingStatus::Serving,
            false => ServingStatus::NotServing,
        };
        // The empty name means the whole server.
        for service in ["", "envoy.service.ext_proc.v3.ExternalProcessor"] {
            self.reporter.set_service_status(service, status).await;
        }
    }
}

struct Processor {
    state_handle: StateHandle,
}

type ResponseStream = Pin<Box<dyn Stream<Item = Result<ProcessingResponse, Status>> + Send>>;

#[async_trait]
impl ExternalProcessor for Processor {
    type ProcessStream = ResponseStream;

    async fn process(
        &self,
        request: Request<Streaming<ProcessingRequest>>,
    ) -> Result<Response<ResponseStream>, Status> {
        // Boxed, because it is moved for every reply.
        let stream = Box::new(GrpcStream {
            messages: request.into_inner(),
            session: RequestSession::new(self.state_handle.load()),
            replies: ReplyQueue::with_capacity(2),
        });
        // No task and no channel: tonic polls the stream while Envoy reads, and dropping the stream cancels the pending work.
        let replies = stream::unfold(Some(stream), |stream| async { stream?.next().await });
        Ok(Response::new(Box::pin(replies)))
    }
}

/// A gRPC stream with its session.
struct GrpcStream {
    messages: Streaming<ProcessingRequest>,
    session: RequestSession,
    replies: ReplyQueue,
}

impl GrpcStream {
    /// The next reply. Reads messages until there is one.
    async fn next(
        mut self: Box<Self>,
    ) -> Option<(Result<ProcessingResponse, Status>, Option<Box<Self>>)> {
        loop {
            if let Some(reply) = self.replies.pop_front() {
                return Some((Ok(reply), Some(self)));
            }
            if self.session.is_over() {
                return None;
            }
            self.session.release_body(); // tonic has taken the replies with it
            let timeout = self.session.body_timeout();
            let passed = async {
                match &timeout {
                    Some(timeout) => sleep_until(timeout.at).await,
                    None => pending().await,
                }
            };
            let message = tokio::select! {
                biased;
                message = self.messages.message() => message,
                () = passed => {
                    if let Some(timeout) = timeout {
                        self.session.on_timeout(&timeout.error, &mut self.replies);
                    }
                    continue;
                }
            };
            match message {
                Ok(Some(message)) => self.session.on_message(message, &mut self.replies).await,
                Ok(None) => return None,
                Err(status) => return Some((Err(status), None)), // Envoy left, or sent a message over the limit
            }
        }
    }
}
