//! How many models are loaded side by side, and how many threads each may use.

use std::{num::NonZero, path::Path, thread::available_parallelism};

use super::{Options, Provider};

/// A model smaller than this gains nothing from a second thread on a processor with dot products of bytes: for the default one,
/// 26 MB, waking it costs more than it does up to some 100 tokens. ModernBERT-base, 150 MB in int8, gains nearly all of it.
const SMALL: u64 = 64 << 20;
/// Models of which several are loaded unasked at most, each of some 40 MB, and threads that share one.
const MOST: usize = 4;

/// Who does the work.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Crew {
    /// Models loaded side by side, each with an owner thread.
    pub sessions: usize,
    /// Threads of one inference.
    pub threads: usize,
}

impl Crew {
    /// What was asked for; a zero is chosen: for a small model a session a core, else one; for a small model that runs fast one
    /// thread, else the cores. Threads of several sessions may be more than the cores then: a text alone has them all (at the
    /// 99th percentile 9 ms on an EPYC 7001 and not 15), and where all are busy nearly as many decisions are made (510 a second
    /// and not 551).
    pub fn of(options: &Options, onnx: &Path) -> Self {
        // It honours a pod's quota; the runtime's own default is the host's cores.
        let cores = available_parallelism().map_or(1, NonZero::get);
        let size = std::fs::metadata(onnx).map_or(0, |file| file.len());
        let on_cpu = options.providers.iter().all(|p| *p == Provider::Cpu);
        let work = match on_cpu && size < SMALL {
            true if has_dot_products() => Work::Light,
            true => Work::Middling,
            false => Work::Heavy,
        };
        Self::choose((options.sessions, options.threads), cores, work)
    }

    fn choose((sessions, threads): (usize, usize), cores: usize, work: Work) -> Self {
        let sessions = match (sessions, threads, work) {
            (0, 0 | 1, Work::Light | Work::Middling) => cores.min(MOST),
            (0, ..) => 1,
            (sessions, ..) => sessions,
        };
        let threads = match (threads, work) {
            (0, Work::Light) => 1,
            (0, Work::Middling) => cores.min(MOST),
            (0, Work::Heavy) => (cores / sessions).max(1),
            (threads, _) => threads,
        };
        Self { sessions, threads }
    }
}

/// What one inference is to the machine.
#[derive(Debug, Clone, Copy)]
enum Work {
    /// A small model, on a processor that runs it fast.
    Light,
    /// A small model.
    Middling,
    /// A large model, or one for a graphics card.
    Heavy,
}

/// True where the processor multiplies and adds four bytes in one instruction, as ONNX Runtime's int8 products do if they can. Where it
/// does not, they take some three times as many instructions.
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

    fn chosen(asked: (usize, usize), cores: usize, work: Work) -> (usize, usize) {
        let crew = Crew::choose(asked, cores, work);
        (crew.sessions, crew.threads)
    }

    #[test]
    fn a_small_model_is_loaded_for_each_core_and_a_large_one_has_them_all() {
        assert_eq!(chosen((0, 0), 2, Work::Light), (2, 1));
        assert_eq!(chosen((0, 0), 64, Work::Light), (4, 1));
        assert_eq!(chosen((0, 0), 8, Work::Heavy), (1, 8));
        assert_eq!(chosen((2, 0), 8, Work::Heavy), (2, 4));
        assert_eq!(chosen((4, 0), 2, Work::Heavy), (4, 1));
    }

    #[test]
    fn a_small_model_that_runs_slowly_has_all_cores_too() {
        assert_eq!(chosen((0, 0), 1, Work::Middling), (1, 1));
        assert_eq!(chosen((0, 0), 2, Work::Middling), (2, 2));
        assert_eq!(chosen((0, 0), 64, Work::Middling), (4, 4));
        assert_eq!(chosen((1, 0), 2, Work::Middling), (1, 2));
        assert_eq!(chosen((0, 1), 2, Work::Middling), (2, 1));
    }

    #[test]
    fn what_is_asked_for_is_done() {
        for work in [Work::Light, Work::Middling, Work::Heavy] {
            assert_eq!(chosen((0, 2), 2, work), (1, 2));
            assert_eq!(chosen((3, 5), 2, work), (3, 5));
        }
    }
}
