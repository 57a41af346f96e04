//! How far texts go through a model that has an early exit.

/// How far; a model without an exit takes every text through all of its layers whatever is said here.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Depth {
    /// To the exit, and on through the layers where that is not sure.
    AsNeeded,
    /// To the exit: there is no answer for a text of which it is not sure.
    Exit,
    /// Through the layers.
    Whole,
}
