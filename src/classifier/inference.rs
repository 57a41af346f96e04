//! What the scheduler and the worker threads need from a model.

use super::{Classification, error::InferenceError, excerpt::Excerpt};

/// How far a batch runs through a model with an early exit. A model without one always runs all of its layers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ExitMode {
    /// Up to the exit, and through the remaining layers where the exit is not confident.
    Auto,
    /// Up to the exit. A text about which the exit is not confident gets no answer.
    ExitOnly,
    /// Through all layers.
    Full,
}

/// How much a batch may hold.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct BatchLimits {
    /// Texts.
    pub rows: usize,
    /// Sum of [`Excerpt::cost`]. A batch takes no further text once it has reached this.
    pub cost: u64,
}

/// A model that classifies batches of texts.
pub trait Inference: Send + 'static {
    /// Classifies every excerpt and calls `done` with its index and result as soon as the result is known. Results do not depend on
    /// the other excerpts. The result is `None` only for [`ExitMode::ExitOnly`], where the exit is not confident.
    fn classify(
        &mut self,
        excerpts: &[Excerpt],
        exit_mode: ExitMode,
        done: &mut dyn FnMut(usize, Result<Option<Classification>, InferenceError>),
    );

    /// True when the model has an early exit, so that [`ExitMode::ExitOnly`] means something.
    fn has_exit(&self) -> bool;

    /// The highest cost that one text has for the layers behind the exit, however long it is.
    fn max_cost(&self) -> u64 {
        u64::MAX
    }

    /// The largest batch that is still faster than several smaller ones.
    fn batch_limits(&self, exit_mode: ExitMode) -> BatchLimits;
}
