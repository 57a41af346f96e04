//! The requests of one connection: answered, and counted until their answers have gone.

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

use axum::{Router, body::Body};
use bytes::Bytes;
use http::{Request, Response};
use http_body::{Frame, SizeHint};
use hyper::body::Incoming;
use tokio::time::sleep;
use tower::ServiceExt;

use super::write_timeout::noted;

/// What answers the requests of a door.
pub trait Answers: Clone + Send + Sync + 'static {
    /// The answer to one; a failure is an answer.
    fn answer(&self, request: Request<Incoming>) -> impl Future<Output = Response<Body>> + Send;
}

impl Answers for Router {
    async fn answer(&self, request: Request<Incoming>) -> Response<Body> {
        let Ok(response) = self.clone().oneshot(request).await;
        response
    }
}

/// How many requests of a connection there are and were.
#[derive(Debug, Default)]
pub struct Requests {
    running: AtomicUsize,
    answered: AtomicUsize,
}

impl Requests {
    /// Answers one.
    pub async fn answer(
        self: Arc<Self>,
        routes: impl Answers,
        request: Request<Incoming>,
    ) -> Result<Response<Answer>, Infallible> {
        let running = Running::count(self);
        let mut answers = pin!(routes.answer(request));
        let response = poll_fn(|cx| noted(answers.as_mut().poll(cx))).await;
        Ok(response.map(|body| Answer {
            body,
            _running: running,
        }))
    }

    /// True once there was one.
    pub fn were_there(&self) -> bool {
        self.answered.load(Ordering::Relaxed) > 0 || self.is_running()
    }

    fn is_running(&self) -> bool {
        self.running.load(Ordering::Relaxed) > 0
    }

    /// Ready when there was none for so long; sees it within twice the time.
    pub async fn none_for(&self, time: Duration) {
        loop {
            let before = self.answered.load(Ordering::Relaxed);
            sleep(time).await;
            if !self.is_running() && self.answered.load(Ordering::Relaxed) == before {
                return;
            }
        }
    }
}

/// Counts a request as running until it is dropped.
#[derive(Debug)]
struct Running(Arc<Requests>);

impl Running {
    fn count(requests: Arc<Requests>) -> Self {
        requests.running.fetch_add(1, Ordering::Relaxed);
        Self(requests)
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.0.answered.fetch_add(1, Ordering::Relaxed);
        self.0.running.fetch_sub(1, Ordering::Relaxed);
    }
}

/// The body of an answer on its way to the client.
#[derive(Debug)]
pub struct Answer {
    body: Body,
    _running: Running,
}

impl http_body::Body for Answer {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
        noted(Pin::new(&mut self.body).poll_frame(cx))
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
    async fn a_connection_is_idle_only_while_nothing_runs() {
        const TIME: Duration = Duration::from_secs(10);
        let requests = Arc::new(Requests::default());
        let began = Instant::now();
        requests.none_for(TIME).await;
        assert_eq!(began.elapsed(), TIME);
        assert!(!requests.were_there());
        let running = Running::count(requests.clone());
        assert!(requests.were_there());
        let runs = async {
            sleep(6 * TIME + TIME / 2).await;
            drop(running);
            Instant::now()
        };
        let (ended, ()) = tokio::join!(runs, requests.none_for(TIME));
        let idle = ended.elapsed();
        assert!(idle >= TIME && idle <= 2 * TIME, "{idle:?}");
    }
}
