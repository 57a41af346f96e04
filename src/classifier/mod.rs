//! Classifies a text: does reasoning pay, and what is the text about. The result is a [`Classification`].
//!
//! Each worker thread owns one ONNX Runtime session. Requests wait in one bounded queue, and those that arrive while all sessions are
//! busy run as batches. A request with a deadline never waits for space in the queue; it is refused, and the router falls back. Scores are
//! cached by the hash of the text that was read, so each is computed once. A score does not depend on the batch.

mod cache_stats;
mod classification;
mod error;
mod excerpt;
mod inference;
mod labels;
mod model;
mod parallelism;
mod scheduler;
mod session;
mod tokenizer;
mod worker;

use std::{sync::Arc, time::Duration};

use quick_cache::sync::Cache;
use tokio::sync::oneshot;

pub use cache_stats::CacheStats;
pub use classification::{Classification, Domain, FallbackReason};
pub use error::LoadError;

use self::{
    excerpt::{Excerpt, Fingerprint},
    model::LoadedModel,
    scheduler::ClassificationRequest,
    worker::WorkerPool,
};
use crate::{config, tenant::Tenant};

/// A request is admitted when its estimated wait is below this share of the deadline. The estimate is a mean, and a request that is
/// admitted and then late has wasted its wait and the work.
const ADMIT_FRACTION: f64 = 0.6;

/// A running classifier. Dropping it ends its worker threads.
#[derive(Debug)]
pub struct Classifier {
    workers: WorkerPool,
    cache: Option<Cache<Fingerprint, Classification>>,
    stats: Arc<CacheStats>,
    max_tokens: usize,
    deadline: Duration,
    domains: Vec<Arc<str>>,
}

impl Classifier {
    /// Loads the model and starts the worker threads. Returns after test runs in the largest shapes.
    ///
    /// # Errors
    /// The message names the file at fault and the command that repairs it.
    pub fn start(options: &config::ClassifierConfig) -> Result<Self, LoadError> {
        let models = LoadedModel::load_all(options)?;
        let reload_options = options.clone();
        let (max_tokens, domains) = models.first().map_or((0, Vec::new()), |model| {
            (model.max_tokens(), model.domains().to_vec())
        });
        Ok(Self {
            workers: WorkerPool::start(
                models,
                move || LoadedModel::load(&reload_options),
                options.queue,
            )?,
            cache: (options.cache > 0).then(|| Cache::new(options.cache)),
            stats: Arc::default(),
            max_tokens,
            deadline: options.deadline(),
            domains,
        })
    }

    /// The time limit of a decision, however many texts it needs. The caller enforces it.
    pub fn deadline(&self) -> Duration {
        self.deadline
    }

    /// Classifies `text` in a turn of `tenant`. Refuses at once when the estimated wait for that turn is longer than three fifths of
    /// the deadline. Does not stop at the deadline itself: the caller does, since one decision may need several texts.
    ///
    /// # Errors
    /// The queue is full or the model failed.
    pub async fn classify(
        &self,
        text: &str,
        tenant: &Tenant,
    ) -> Result<Classification, FallbackReason> {
        let limit = self.deadline.mul_f64(ADMIT_FRACTION);
        self.cached(Excerpt::of(text, self.max_tokens), tenant, Some(limit))
            .await
    }

    /// Classifies `text`, however long it takes.
    ///
    /// # Errors
    /// The model failed.
    pub async fn classify_without_deadline(
        &self,
        text: &str,
    ) -> Result<Classification, FallbackReason> {
        self.cached(Excerpt::of(text, self.max_tokens), &Tenant::Unknown, None)
            .await
    }

    /// True when the model failed permanently. Every further decision falls back.
    pub fn is_down(&self) -> bool {
        self.workers.is_down()
    }

    /// Hits and misses of the score cache.
    pub fn cache_stats(&self) -> &Arc<CacheStats> {
        &self.stats
    }

    /// The domain labels of the model; empty without a second head.
    pub fn domains(&self) -> &[Arc<str>] {
        &self.domains
    }

    async fn cached(
        &self,
        excerpt: Excerpt,
        tenant: &Tenant,
        limit: Option<Duration>,
    ) -> Result<Classification, FallbackReason> {
        self.stats.record_lookup();
        match &self.cache {
            // Concurrent requests for the same text share one inference.
            Some(cache) => {
                let fingerprint = excerpt.fingerprint();
                let inference = self.infer(excerpt, tenant, limit);
                cache.get_or_insert_async(&fingerprint, inference).await
            }
            None => self.infer(excerpt, tenant, limit).await,
        }
    }

    async fn infer(
        &self,
        excerpt: Excerpt,
        tenant: &Tenant,
        limit: Option<Duration>,
    ) -> Result<Classification, FallbackReason> {
        self.stats.record_miss();
        let (reply, answer) = oneshot::channel();
        let request = ClassificationRequest {
            excerpt,
            tenant: tenant.clone(),
            reply,
        };
        self.workers.submit(request, limit).await?;
        answer.await.unwrap_or(Err(FallbackReason::Failed))
    }
}
