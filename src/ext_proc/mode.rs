//! How Envoy hands over bodies (`processing_mode` of the filter).

use envoy_types::pb::envoy::{
    extensions::filters::http::ext_proc::v3::processing_mode::BodySendMode,
    service::ext_proc::v3::ProtocolConfiguration,
};

/// How the body of a request or of an answer comes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum BodyMode {
    /// Not at all.
    None,
    /// Whole, in one message; headers can still be changed with it.
    Buffered,
    /// Whole when it is small, else its beginning only.
    Partial,
    /// In pieces, each answered at once; the headers are on their way by then.
    Streamed,
    /// In pieces that are answered when and as we like, headers included.
    FullDuplex,
    /// Nobody said. Envoy does since 1.34.
    Unsaid,
}

impl BodyMode {
    /// The modes of requests and of answers, as the first message of a stream says.
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
            Ok(BodySendMode::BufferedPartial) => Self::Partial,
            Ok(BodySendMode::Streamed) => Self::Streamed,
            Ok(BodySendMode::FullDuplexStreamed) => Self::FullDuplex,
            Ok(BodySendMode::Grpc) | Err(_) => Self::Unsaid,
        }
    }
}
