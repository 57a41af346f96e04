//! How Envoy sends bodies to us (`processing_mode` of the filter).

use envoy_types::pb::envoy::{
    extensions::filters::http::ext_proc::v3::processing_mode::BodySendMode,
    service::ext_proc::v3::ProtocolConfiguration,
};

/// How Envoy sends the body of a request or of a response.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum BodyMode {
    /// Not at all.
    None,
    /// In one message. The reply to it can still change the headers.
    Buffered,
    /// In one message when it is small, else only its beginning.
    BufferedPartial,
    /// In chunks. Each needs a reply at once; the headers are already forwarded by then.
    Streamed,
    /// In chunks. Replies, those to the headers included, may come at any time.
    FullDuplex,
    /// Unknown: Envoy names the mode only since 1.34.
    Unknown,
}

impl BodyMode {
    /// The modes of the request and the response, from the first message of a stream.
    pub fn of(config: &ProtocolConfiguration) -> (Self, Self) {
        (
            Self::from(config.request_body_mode),
            Self::from(config.response_body_mode),
        )
    }

    fn from(mode: i32) -> Self {
        match BodySendMode::try_from(mode) {
            Ok(BodySendMode::None) => Self::None,
            Ok(BodySendMode::Buffered) => Self::Buffered,
            Ok(BodySendMode::BufferedPartial) => Self::BufferedPartial,
            Ok(BodySendMode::Streamed) => Self::Streamed,
            Ok(BodySendMode::FullDuplexStreamed) => Self::FullDuplex,
            Ok(BodySendMode::Grpc) | Err(_) => Self::Unknown,
        }
    }
}
