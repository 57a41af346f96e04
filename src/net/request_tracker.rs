//! Counts the requests of one connection, so that an idle connection can be closed.

use std::{
    convert::Infallible,
    future::poll_fn,
    pin::{Pin, pin},
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    task::{Context, Poll},
    time::Duration,
};

use axum::body::Body;
use bytes::Bytes;
use http::{Request, Response};
use http_body::{Frame, SizeHint};
use tokio::time::sleep;
use tower::Service;

use super::write_timeout::record_progress;

/// A tower service that answers the requests of a server. It is always ready, and a failure is a response too.
pub trait HttpService:
    Service<Request<Body>, Response = Response<Body>, Error = Infallible, Future: Send>
    + Clone
    + Send
    + Sync
    + 'static
{
}

impl<S> HttpService for S where
    S: Service<Request<Body>, Response = Response<Body>, Error = Infallible, Future: Send>
        + Clone
        + Send
        + Sync
        + 'static
{
}

/// The number of active and completed requests of one connection.
#[derive(Debug, Default)]
pub struct RequestTracker {
    active: AtomicUsize,
    completed: AtomicUsize,
}

impl RequestTracker {
    /// Passes a response on. Its request is active from now until the response body is dropped.
    pub async fn track(
        self: Arc<Self>,
        response: impl Future<Output = Result<Response<Body>, Infallible>>,
    ) -> Result<Response<TrackedBody>, Infallible> {
        let active = ActiveRequest::begin(self);
        let mut response = pin!(response);
        let Ok(response) = poll_fn(|cx| record_progress(response.as_mut().poll(cx))).await;
        Ok(response.map(|body| TrackedBody {
            body,
            _active: active,
        }))
    }

    /// True once there was a request.
    pub fn any_seen(&self) -> bool {
        self.completed.load(Ordering::Relaxed) > 0 || self.is_active()
    }

    /// True while a request is served, its response body included.
    pub fn is_active(&self) -> bool {
        self.active.load(Ordering::Relaxed) > 0
    }

    /// Waits until no request was active for `time`. Returns at the latest `time` after that.
    pub async fn idle_for(&self, time: Duration) {
        loop {
            let before = self.completed.load(Ordering::Relaxed);
            sleep(time).await;
            if !self.is_active() && self.completed.load(Ordering::Relaxed) == before {
                return;
            }
        }
    }
}

/// Counts a request as active until it is dropped.
#[derive(Debug)]
struct ActiveRequest(Arc<RequestTracker>);

impl ActiveRequest {
    fn begin(requests: Arc<RequestTracker>) -> Self {
        requests.active.fetch_add(1, Ordering::Relaxed);
        Self(requests)
    }
}

impl Drop for ActiveRequest {
    fn drop(&mut self) {
        self.0.completed.fetch_add(1, Ordering::Relaxed);
        self.0.active.fetch_sub(1, Ordering::Relaxed);
    }
}

/// A response body that keeps its request active.
#[derive(Debug)]
pub struct TrackedBody {
    body: Body,
    _active: ActiveRequest,
}

impl http_body::Body for TrackedBody {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
        record_progress(Pin::new(&mut self.body).poll_frame(cx))
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

#[cfg(test)]
mod tests {
    use tokio::time::Instant;

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_connection_is_idle_only_while_no_request_is_active() {
        const TIME: Duration = Duration::from_secs(10);
        let requests = Arc::new(RequestTracker::default());
        let began = Instant::now();
        requests.idle_for(TIME).await;
        assert_eq!(began.elapsed(), TIME);
        assert!(!requests.any_seen());
        let active = ActiveRequest::begin(requests.clone());
        assert!(requests.any_seen());
        let request = async {
            sleep(6 * TIME + TIME / 2).await;
            drop(active);
            Instant::now()
        };
        let (ended, ()) = tokio::join!(request, requests.idle_for(TIME));
        let idle = ended.elapsed();
        assert!(idle >= TIME && idle <= 2 * TIME, "{idle:?}");
    }
}
