//! A request as it waits in the scheduler.

use std::time::Instant;

use tokio::sync::oneshot;

use super::backlog::Reservation;
use crate::{
    classifier::{Classification, FallbackReason, excerpt::Excerpt},
    tenant::Tenant,
};

/// A text to classify, and where the result goes.
pub struct ClassificationRequest {
    /// The text.
    pub excerpt: Excerpt,
    /// Whose turn it uses.
    pub tenant: Tenant,
    /// Closed when the caller has left: the client is gone or its deadline has passed.
    pub reply: oneshot::Sender<Result<Classification, FallbackReason>>,
}

/// A request in a lane.
pub struct Queued {
    pub(super) request: ClassificationRequest,
    pub(super) reservation: Reservation,
    pub(super) queued_at: Instant,
    pub(super) due: Option<Instant>,
}

/// Requests that wait for the same part of the model.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Lane {
    /// New requests, which run up to the early exit. Without an exit, all requests.
    Exit,
    /// Requests about which the exit was not confident.
    Full,
}
