//! The cheapest external processor that Envoy accepts: every message is answered with "continue". What Envoy with it costs
//! is the price of ext_proc itself.

use std::net::SocketAddr;

use envoy_types::pb::envoy::service::ext_proc::v3::{
    BodyResponse, HeadersResponse, ProcessingRequest, ProcessingResponse, TrailersResponse,
    external_processor_server::{ExternalProcessor, ExternalProcessorServer},
    processing_request::Request as Heard,
    processing_response::Response as Said,
};
use futures_util::{Stream, StreamExt};
use tonic::{Request, Response, Status, Streaming, async_trait};

pub async fn serve(address: SocketAddr) {
    let mut server = tonic::transport::Server::builder().tcp_nodelay(true);
    let processor = ExternalProcessorServer::new(Noop);
    server.add_service(processor).serve(address).await.unwrap();
}

struct Noop;

#[async_trait]
impl ExternalProcessor for Noop {
    type ProcessStream =
        std::pin::Pin<Box<dyn Stream<Item = Result<ProcessingResponse, Status>> + Send>>;

    async fn process(
        &self,
        request: Request<Streaming<ProcessingRequest>>,
    ) -> Result<Response<Self::ProcessStream>, Status> {
        let answers = request.into_inner().filter_map(async |message| {
            let said = match message.ok()?.request? {
                Heard::RequestHeaders(_) => Said::RequestHeaders(HeadersResponse::default()),
                Heard::ResponseHeaders(_) => Said::ResponseHeaders(HeadersResponse::default()),
                Heard::RequestBody(_) => Said::RequestBody(BodyResponse::default()),
                Heard::ResponseBody(_) => Said::ResponseBody(BodyResponse::default()),
                Heard::RequestTrailers(_) => Said::RequestTrailers(TrailersResponse::default()),
                Heard::ResponseTrailers(_) => Said::ResponseTrailers(TrailersResponse::default()),
            };
            Some(Ok(ProcessingResponse {
                response: Some(said),
                ..ProcessingResponse::default()
            }))
        });
        Ok(Response::new(Box::pin(answers)))
    }
}
