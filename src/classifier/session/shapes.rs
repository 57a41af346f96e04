//! Chooses which texts run together, and the tensor shape of each run.
//!
//! On a CPU every shape is equally good and batching gains little: 10 % for four rows of 48 tokens, nothing for more rows or longer
//! ones (5 layers of width 384, int8, one thread). So one run holds no more tokens than one text of maximum length, which also limits the
//! memory of ONNX Runtime's arena. A GPU is mostly idle with one row, and its kernels and engines are built for fixed shapes, so there
//! a batch is padded to a bucket.

use std::ops::Range;

use crate::config::Buckets;

/// The most padding tokens of a row on a CPU. This few cost less than another run.
const MAX_PADDING: usize = 4;
/// The most rows of one run on a CPU.
const MAX_CPU_ROWS: usize = 16;

/// The tensor shapes of a classifier's runs: rows by tokens.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Shapes {
    /// Any shape. Rows of similar length run together, up to `max_tokens` tokens in all.
    Exact {
        /// Tokens of a text of maximum length.
        max_tokens: usize,
    },
    /// Only the shapes of the buckets. Batches are padded to one of them.
    Fixed(Buckets),
}

impl Shapes {
    /// The shapes for texts of up to `max_tokens`; without buckets, any shape.
    pub fn new(buckets: Option<&Buckets>, max_tokens: usize) -> Self {
        let Some(buckets) = buckets else {
            return Self::Exact { max_tokens };
        };
        let below = |tokens: &&usize| **tokens < max_tokens;
        let mut tokens: Vec<_> = buckets.tokens.iter().filter(below).copied().collect();
        tokens.push(max_tokens);
        Self::Fixed(Buckets {
            rows: buckets.rows.clone(),
            tokens,
        })
    }

    /// The most texts, and the tokens, of a batch that is taken from the queue at once. On a CPU, texts that did not leave at the early
    /// exit are taken one at a time, so that texts that may leave early do not wait behind several of them.
    pub fn batch_limits(&self, behind_exit: bool) -> (usize, usize) {
        match self {
            Self::Exact { max_tokens } if behind_exit => (1, *max_tokens),
            Self::Exact { max_tokens } => (MAX_CPU_ROWS, *max_tokens),
            Self::Fixed(buckets) => {
                let rows = buckets.rows.last().copied().unwrap_or(1);
                (rows, usize::MAX)
            }
        }
    }

    /// Splits texts of these ascending lengths into runs: the range of texts, and the shape (rows, tokens) of each run.
    pub fn plan(&self, lengths: &[usize]) -> Vec<(Range<usize>, [usize; 2])> {
        let mut runs = Vec::new();
        let mut start = 0;
        while start < lengths.len() {
            let mut end = start + 1;
            while end < lengths.len() && self.fits(lengths[start], lengths[end], end + 1 - start) {
                end += 1;
            }
            runs.push((start..end, self.shape(end - start, lengths[end - 1])));
            start = end;
        }
        runs
    }

    /// The shapes to run once at the start. With buckets these are all of them.
    ///
    /// Without buckets they are the one with the most rows, and twice the largest one. ONNX Runtime's arena grows by powers of two whenever
    /// a shape does not fit into a gap, even hours later. With space for two of the largest it never grows again.
    pub fn warm_up_shapes(&self) -> Vec<[usize; 2]> {
        match self {
            Self::Exact { max_tokens } => {
                vec![
                    [2, *max_tokens],
                    [MAX_CPU_ROWS, (max_tokens / MAX_CPU_ROWS).max(1)],
                ]
            }
            Self::Fixed(Buckets { rows, tokens }) => rows
                .iter()
                .flat_map(|rows| tokens.iter().map(|tokens| [*rows, *tokens]))
                .collect(),
        }
    }

    fn fits(&self, shortest: usize, longest: usize, rows: usize) -> bool {
        match self {
            Self::Exact { max_tokens } => {
                rows <= MAX_CPU_ROWS
                    && longest - shortest <= MAX_PADDING
                    && rows * longest <= *max_tokens
            }
            Self::Fixed(buckets) => {
                rows <= self.batch_limits(false).0
                    && round_up(&buckets.tokens, shortest) == round_up(&buckets.tokens, longest)
            }
        }
    }

    fn shape(&self, rows: usize, longest: usize) -> [usize; 2] {
        match self {
            Self::Exact { .. } => [rows, longest],
            Self::Fixed(buckets) => [
                round_up(&buckets.rows, rows),
                round_up(&buckets.tokens, longest),
            ],
        }
    }
}

/// The smallest of these sizes that is at least `size`, or `size` when all are smaller.
fn round_up(sizes: &[usize], size: usize) -> usize {
    sizes
        .iter()
        .copied()
        .find(|candidate| *candidate >= size)
        .unwrap_or(size)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn on_a_cpu_rows_of_similar_length_run_together_up_to_max_tokens() {
        let shapes = Shapes::new(None, 256);
        assert_eq!(
            shapes.plan(&[10, 11, 14, 15, 100, 100, 100, 250, 256]),
            [
                (0..3, [3, 14]),
                (3..4, [1, 15]),
                (4..6, [2, 100]),
                (6..7, [1, 100]),
                (7..8, [1, 250]),
                (8..9, [1, 256]),
            ]
        );
        assert_eq!(shapes.plan(&[12; 40]).len(), 3, "at most sixteen rows");
        assert_eq!(shapes.plan(&[]), []);
        assert_eq!(shapes.warm_up_shapes(), [[2, 256], [16, 16]]);
    }

    #[test]
    fn with_buckets_every_shape_is_warmed_up() {
        let shapes = Shapes::new(Some(&Buckets::default()), 300);
        let warm = shapes.warm_up_shapes();
        assert_eq!(warm.len(), 3 * 4);
        assert!(warm.contains(&[64, 300]) && !warm.contains(&[64, 512]));
        let mut lengths: Vec<usize> = (3..=300).collect();
        lengths.extend([300; 100]);
        let plan = shapes.plan(&lengths);
        assert!(
            plan.iter().all(|(_, shape)| warm.contains(shape)),
            "{plan:?}"
        );
        assert!(plan.iter().all(|(rows, shape)| rows.len() <= shape[0]));
        assert_eq!(plan.iter().map(|(rows, _)| rows.len()).sum::<usize>(), 398);
        assert_eq!(
            shapes.plan(&[3, 60, 64, 65]),
            [(0..3, [8, 64]), (3..4, [1, 128])]
        );
    }
}
