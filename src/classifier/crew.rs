//! How many models are loaded side by side, and how many threads each may use.

use std::{num::NonZero, path::Path, thread::available_parallelism};

use super::{Options, Provider};

/// A model smaller than this gains nothing from a second thread: for the default one, 26 MB, waking it costs more than it
/// does up to some 100 tokens. ModernBERT-base, 150 MB in int8, gains nearly all of it.
const SMALL: u64 = 64 << 20;
/// Models that are loaded for the asking at most; each takes some 40 MB.
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
    /// What was asked for; a zero is chosen: for a small model one session and thread a core, else one session with all.
    pub fn of(options: &Options, onnx: &Path) -> Self {
        // It honours a pod's quota; the runtime's own default is the host's cores.
        let cores = available_parallelism().map_or(1, NonZero::get);
        let size = std::fs::metadata(onnx).map_or(0, |file| file.len());
        let on_cpu = options.providers.iter().all(|p| *p == Provider::Cpu);
        Self::choose(
            (options.sessions, options.threads),
            cores,
            on_cpu && size < SMALL,
        )
    }

    fn choose((sessions, threads): (usize, usize), cores: usize, small: bool) -> Self {
        let sessions = match (sessions, threads) {
            (0, 0 | 1) if small => cores.min(MOST),
            (0, _) => 1,
            (sessions, _) => sessions,
        };
        let threads = match threads {
            0 if small => 1,
            0 => (cores / sessions).max(1),
            threads => threads,
        };
        Self { sessions, threads }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_small_model_is_loaded_for_each_core_and_a_large_one_has_them_all() {
        let chosen = |asked, cores, small| {
            let crew = Crew::choose(asked, cores, small);
            (crew.sessions, crew.threads)
        };
        assert_eq!(chosen((0, 0), 2, true), (2, 1));
        assert_eq!(chosen((0, 0), 64, true), (4, 1));
        assert_eq!(chosen((0, 0), 8, false), (1, 8));
        assert_eq!(chosen((2, 0), 8, false), (2, 4));
        assert_eq!(chosen((4, 0), 2, false), (4, 1));
        assert_eq!(chosen((0, 2), 2, true), (1, 2));
        assert_eq!(chosen((3, 5), 2, true), (3, 5));
    }
}
