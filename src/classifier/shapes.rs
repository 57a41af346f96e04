//! Which texts run together, and in what shape.
//!
//! On a processor every shape is as good as another, and rows beside each other gain little: 10 % for four of 48 tokens,
//! nothing for more or for longer ones (5 layers of 384, int8, one thread). So an inference is no larger than one longest
//! text, which also bounds what the runtime's arena ever holds. A graphics card is idle with one row, and its kernels and
//! engines are built for fixed shapes, so there a batch fills a bucket.

use std::ops::Range;

use serde::{Deserialize, Serialize};

/// Padding a text to its neighbour's length is work for nothing; a few tokens are cheaper than another run.
const LIKE_LENGTH: usize = 4;
/// Rows of an inference on a processor at most.
const MOST_ROWS: usize = 16;

/// Fixed shapes: every inference is padded to one of `rows` by one of `tokens`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Buckets {
    /// Texts of a batch, ascending.
    pub rows: Vec<usize>,
    /// Tokens of a text, ascending. Those above `classifier.max_tokens` become that.
    pub tokens: Vec<usize>,
}

impl Default for Buckets {
    fn default() -> Self {
        Self {
            rows: vec![1, 8, 64],
            tokens: vec![64, 128, 256, 512],
        }
    }
}

/// How texts become inferences.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Shapes {
    /// As they come: rows of like length, together no more tokens than the longest text may have.
    Exact {
        /// Tokens of the longest text.
        max_tokens: usize,
    },
    /// Padded up to a bucket.
    Fixed(Buckets),
}

impl Shapes {
    /// For texts of up to `max_tokens`.
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

    /// Texts that are worth taking from the queue at once, and tokens. Of those that an exit left for the layers one at a time, on a
    /// processor: texts that may leave early should not wait for several.
    pub fn worth(&self, left_by_an_exit: bool) -> (usize, usize) {
        match self {
            Self::Exact { max_tokens } if left_by_an_exit => (1, *max_tokens),
            Self::Exact { max_tokens } => (MOST_ROWS, *max_tokens),
            Self::Fixed(buckets) => {
                let rows = buckets.rows.last().copied().unwrap_or(1);
                (rows, usize::MAX)
            }
        }
    }

    /// The inferences for texts of these lengths, which ascend: which run together, and the rows and tokens of the shape.
    pub fn plan(&self, lengths: &[usize]) -> Vec<(Range<usize>, [usize; 2])> {
        let mut inferences = Vec::new();
        let mut start = 0;
        while start < lengths.len() {
            let mut end = start + 1;
            while end < lengths.len() && self.fits(lengths[start], lengths[end], end + 1 - start) {
                end += 1;
            }
            inferences.push((start..end, self.shape(end - start, lengths[end - 1])));
            start = end;
        }
        inferences
    }

    /// Every shape that inferences may have; for exact ones the one of many rows, and twice the largest: the runtime's arena grows
    /// by powers of two whenever a shape does not fit between what others left, up to hours later. With room for two it is level.
    pub fn to_warm_up(&self) -> Vec<[usize; 2]> {
        match self {
            Self::Exact { max_tokens } => {
                vec![
                    [2, *max_tokens],
                    [MOST_ROWS, (max_tokens / MOST_ROWS).max(1)],
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
                rows <= MOST_ROWS
                    && longest - shortest <= LIKE_LENGTH
                    && rows * longest <= *max_tokens
            }
            Self::Fixed(buckets) => {
                rows <= self.worth(false).0
                    && up(&buckets.tokens, shortest) == up(&buckets.tokens, longest)
            }
        }
    }

    fn shape(&self, rows: usize, longest: usize) -> [usize; 2] {
        match self {
            Self::Exact { .. } => [rows, longest],
            Self::Fixed(buckets) => [up(&buckets.rows, rows), up(&buckets.tokens, longest)],
        }
    }
}

/// The smallest of these that holds `size`; `size` itself where none does.
fn up(sizes: &[usize], size: usize) -> usize {
    sizes
        .iter()
        .copied()
        .find(|held| *held >= size)
        .unwrap_or(size)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn on_a_processor_rows_of_like_length_run_together_up_to_the_size_of_a_longest_text() {
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
        assert_eq!(shapes.plan(&[12; 40]).len(), 3, "sixteen rows at most");
        assert_eq!(shapes.plan(&[]), []);
        assert_eq!(shapes.to_warm_up(), [[2, 256], [16, 16]]);
    }

    #[test]
    fn in_buckets_every_shape_is_one_that_was_warmed_up() {
        let shapes = Shapes::new(Some(&Buckets::default()), 300);
        let warm = shapes.to_warm_up();
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
