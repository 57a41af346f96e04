//! Chooses how many sessions are loaded and how many threads each inference uses.

use std::{num::NonZero, path::Path, thread::available_parallelism};

use crate::config;

/// A model below this many bytes gains nothing from a second thread on a processor with int8 dot products. For the default model
/// (26 MB), waking a second thread costs more than it saves up to about 100 tokens. ModernBERT-base (150 MB in int8) gains almost
/// the whole second core.
const SMALL_MODEL_BYTES: u64 = 64 << 20;
/// The most sessions, and the most threads of a small model, that are chosen by default. A session of the default model takes
/// about 40 MB.
const MAX_DEFAULT: usize = 4;

/// Sessions and threads of a classifier.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Parallelism {
    /// Copies of the model. Each has a worker thread.
    pub sessions: usize,
    /// Threads of one inference.
    pub threads: usize,
}

impl Parallelism {
    /// Takes `classifier.sessions` and `classifier.threads`, and chooses those that are 0 by the model's cost and the cores.
    ///
    /// A small model gets one session a core, a large one gets one session. A small model on a fast processor gets one thread, any
    /// other gets all cores. On a slow processor the threads of all sessions together then outnumber the cores, on purpose: a
    /// single text uses all of them (p99 of 9 ms instead of 15 ms on an EPYC 7001), and under full load almost as many decisions
    /// are made (510 instead of 551 a second).
    pub fn for_model(options: &config::ClassifierConfig, onnx: &Path) -> Self {
        // This honours the CPU quota of a container; ONNX Runtime's default is all cores of the host.
        let cores = available_parallelism().map_or(1, NonZero::get);
        let size = std::fs::metadata(onnx).map_or(0, |file| file.len());
        let cost = match options.is_on_cpu() && size < SMALL_MODEL_BYTES {
            true if has_dot_products() => ModelCost::Low,
            true => ModelCost::Medium,
            false => ModelCost::High,
        };
        Self::choose((options.sessions, options.threads), cores, cost)
    }

    fn choose((sessions, threads): (usize, usize), cores: usize, cost: ModelCost) -> Self {
        let sessions = match (sessions, threads, cost) {
            (0, 0 | 1, ModelCost::Low | ModelCost::Medium) => cores.min(MAX_DEFAULT),
            (0, ..) => 1,
            (sessions, ..) => sessions,
        };
        let threads = match (threads, cost) {
            (0, ModelCost::Low) => 1,
            (0, ModelCost::Medium) => cores.min(MAX_DEFAULT),
            (0, ModelCost::High) => (cores / sessions).max(1),
            (threads, _) => threads,
        };
        Self { sessions, threads }
    }
}

/// How expensive one inference is on this machine.
#[derive(Debug, Clone, Copy)]
enum ModelCost {
    /// A small model on a processor with int8 dot products.
    Low,
    /// A small model on any other processor.
    Medium,
    /// A large model, or one on a GPU.
    High,
}

/// True when the processor can multiply and add four bytes in one instruction. Without that, ONNX Runtime's int8 matrix products take
/// about three times as many instructions.
fn has_dot_products() -> bool {
    #[cfg(target_arch = "x86_64")]
    return is_x86_feature_detected!("avx512vnni") || is_x86_feature_detected!("avxvnni");
    #[cfg(target_arch = "aarch64")]
    return std::arch::is_aarch64_feature_detected!("dotprod");
    #[cfg(not(any(target_arch = "x86_64", target_arch = "aarch64")))]
    return false;
}

#[cfg(test)]
mod tests {
    use super::*;

    fn chosen(configured: (usize, usize), cores: usize, cost: ModelCost) -> (usize, usize) {
        let parallelism = Parallelism::choose(configured, cores, cost);
        (parallelism.sessions, parallelism.threads)
    }

    #[test]
    fn a_small_model_gets_a_session_per_core_and_a_large_one_gets_all_cores() {
        assert_eq!(chosen((0, 0), 2, ModelCost::Low), (2, 1));
        assert_eq!(chosen((0, 0), 64, ModelCost::Low), (4, 1));
        assert_eq!(chosen((0, 0), 8, ModelCost::High), (1, 8));
        assert_eq!(chosen((2, 0), 8, ModelCost::High), (2, 4));
        assert_eq!(chosen((4, 0), 2, ModelCost::High), (4, 1));
    }

    #[test]
    fn a_small_model_on_a_slow_processor_gets_all_cores_too() {
        assert_eq!(chosen((0, 0), 1, ModelCost::Medium), (1, 1));
        assert_eq!(chosen((0, 0), 2, ModelCost::Medium), (2, 2));
        assert_eq!(chosen((0, 0), 64, ModelCost::Medium), (4, 4));
        assert_eq!(chosen((1, 0), 2, ModelCost::Medium), (1, 2));
        assert_eq!(chosen((0, 1), 2, ModelCost::Medium), (2, 1));
    }

    #[test]
    fn configured_values_are_taken() {
        for cost in [ModelCost::Low, ModelCost::Medium, ModelCost::High] {
            assert_eq!(chosen((0, 2), 2, cost), (1, 2));
            assert_eq!(chosen((3, 5), 2, cost), (3, 5));
        }
    }
}
