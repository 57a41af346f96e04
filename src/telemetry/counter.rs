//! Counters with labels that cost a request little: OpenTelemetry reads them only when the metrics are collected.
//!
//! A synchronous instrument of the SDK hashes every label's name and value by SipHash, for each instrument of each request. Here the
//! values alone are hashed, by a faster function, in a table that readers share without a lock.

use std::{
    array,
    hash::Hash,
    sync::{
        Arc,
        atomic::{AtomicI64, AtomicU64, Ordering::Relaxed},
    },
};

use arc_swap::ArcSwap;
use hashbrown::{Equivalent, HashMap};
use opentelemetry::{KeyValue, metrics::Meter};

/// A counter per set of label values; `N` is the number of labels.
#[derive(Debug)]
pub struct CounterFamily<const N: usize>(Arc<CounterTable<N>>);

#[derive(Debug)]
struct CounterTable<const N: usize> {
    names: [&'static str; N],
    /// Replaced by a larger copy for every new set of values. There are few: values are closed sets or configured names.
    counts: ArcSwap<CounterMap<N>>,
}

type CounterMap<const N: usize> = HashMap<[Box<str>; N], Arc<AtomicU64>>;

/// The values of labels, to look up a counter without a copy of them.
#[derive(Hash)]
struct Values<'a, const N: usize>([&'a str; N]);

impl<const N: usize> Equivalent<[Box<str>; N]> for Values<'_, N> {
    fn equivalent(&self, key: &[Box<str>; N]) -> bool {
        self.0.iter().zip(key).all(|(value, key)| *value == &**key)
    }
}

impl<const N: usize> CounterFamily<N> {
    /// A counter family with these label names, registered with `meter`.
    pub fn new(
        meter: &Meter,
        name: &'static str,
        description: &'static str,
        names: [&'static str; N],
    ) -> Self {
        let table = Arc::new(CounterTable {
            names,
            counts: ArcSwap::default(),
        });
        let read = table.clone();
        meter
            .u64_observable_counter(name)
            .with_description(description)
            .with_callback(move |counter| {
                for (values, count) in &**read.counts.load() {
                    let labels: [KeyValue; N] =
                        array::from_fn(|at| KeyValue::new(read.names[at], values[at].to_string()));
                    counter.observe(count.load(Relaxed), &labels);
                }
            })
            .build();
        Self(table)
    }

    /// Adds `count` to the counter with these label values, in the order of the names.
    pub fn add(&self, count: u64, values: [&str; N]) {
        let values = Values(values);
        if let Some(counter) = self.0.counts.load().get(&values) {
            counter.fetch_add(count, Relaxed);
            return;
        }
        // What another thread adds meanwhile is kept: both add to the entry that was first.
        self.0.counts.rcu(|counts| {
            let mut counts = CounterMap::clone(counts);
            let key = values.0.map(Box::from);
            counts.entry(key).or_default();
            counts
        });
        if let Some(counter) = self.0.counts.load().get(&values) {
            counter.fetch_add(count, Relaxed);
        }
    }
}

/// A number without labels that goes up and down, read when the metrics are collected.
pub fn up_down_counter(
    meter: &Meter,
    name: &'static str,
    description: &'static str,
) -> Arc<AtomicI64> {
    let value = Arc::new(AtomicI64::new(0));
    let read = value.clone();
    meter
        .i64_observable_up_down_counter(name)
        .with_description(description)
        .with_callback(move |counter| counter.observe(read.load(Relaxed), &[]))
        .build();
    value
}

#[cfg(test)]
mod tests {
    use std::thread;

    use opentelemetry::metrics::MeterProvider;
    use opentelemetry_sdk::metrics::SdkMeterProvider;

    use super::*;

    #[test]
    fn nothing_is_lost_when_threads_add_the_same_new_labels() {
        let provider = SdkMeterProvider::default();
        let family = CounterFamily::new(&provider.meter("test"), "x", "", ["a", "b"]);
        thread::scope(|scope| {
            for _ in 0..8 {
                scope.spawn(|| {
                    for label in 0..100 {
                        family.add(2, ["same", &label.to_string()]);
                    }
                });
            }
        });
        let counts = family.0.counts.load();
        assert_eq!(counts.len(), 100);
        assert!(counts.values().all(|count| count.load(Relaxed) == 16));
    }

    #[test]
    fn labels_with_the_same_text_in_other_places_are_counted_apart() {
        let provider = SdkMeterProvider::default();
        let family = CounterFamily::new(&provider.meter("test"), "x", "", ["a", "b"]);
        family.add(1, ["one", "other"]);
        family.add(2, ["other", "one"]);
        family.add(4, ["oneother", ""]);
        assert_eq!(family.0.counts.load().len(), 3);
    }
}
