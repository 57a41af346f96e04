//! Measurements bound to their labels: a request that ends like another one before it is measured without a look at any label.
//!
//! Unbound, each of some eight measurements a request sorts its labels, hashes them text by text, and finds its sum by them: a twelfth
//! of a whole request's instructions. Binding is an experimental feature of OpenTelemetry 0.33, and no more than a faster way to the
//! same sums.

use std::{
    collections::HashMap,
    hash::Hash,
    sync::{Arc, OnceLock},
};

use opentelemetry::{
    KeyValue,
    metrics::{BoundCounter, BoundHistogram, Counter, Histogram},
};
use parking_lot::RwLock;

/// Kinds remembered at most; then they are forgotten and bound anew. What there is usually, is some dozens.
const MOST: usize = 2000;

/// What is bound for each kind of thing that is measured.
#[derive(Debug)]
pub struct Kinds<K, B>(RwLock<HashMap<K, Arc<B>>>);

impl<K, B> Default for Kinds<K, B> {
    fn default() -> Self {
        Self(RwLock::default())
    }
}

impl<K: Hash + Eq, B: Default> Kinds<K, B> {
    /// What is bound for this kind.
    pub fn of(&self, kind: K) -> Arc<B> {
        let known = self.0.read();
        if let Some(bound) = known.get(&kind) {
            return bound.clone();
        }
        drop(known);
        let mut known = self.0.write();
        if known.len() >= MOST {
            known.clear();
        }
        known.entry(kind).or_default().clone()
    }
}

/// A counter with its labels, bound when it is first counted: a sum that nothing was added to is not shown.
#[derive(Debug, Default)]
pub struct Count(OnceLock<BoundCounter<u64>>);

impl Count {
    /// Adds to `counter` under `labels`, which are the same each time.
    pub fn add(&self, counter: &Counter<u64>, value: u64, labels: impl FnOnce() -> Vec<KeyValue>) {
        self.0.get_or_init(|| counter.bind(&labels())).add(value);
    }
}

/// The same for a distribution.
#[derive(Debug, Default)]
pub struct Spread(OnceLock<BoundHistogram<f64>>);

impl Spread {
    /// Adds to `histogram` under `labels`, which are the same each time.
    pub fn record(
        &self,
        histogram: &Histogram<f64>,
        value: f64,
        labels: impl FnOnce() -> Vec<KeyValue>,
    ) {
        let bound = self.0.get_or_init(|| histogram.bind(&labels()));
        bound.record(value);
    }
}
