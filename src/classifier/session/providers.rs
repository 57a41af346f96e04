//! The execution providers of ONNX Runtime and their settings.

use std::{fs::create_dir_all, io};

use ort::ep::{self, ExecutionProviderDispatch};

use super::Shapes;
use crate::config::{self, Provider};

/// Builds the request for one execution provider. A provider that does not load is an error; there is no silent fallback to the next.
/// The CPU provider uses an arena, because the system's allocator would map the memory of each inference again.
///
/// # Errors
/// The directory `classifier.engine_cache` cannot be created.
pub fn dispatch(
    provider: Provider,
    options: &config::ClassifierConfig,
    shapes: &Shapes,
) -> io::Result<ExecutionProviderDispatch> {
    let dispatch = match provider {
        Provider::Cpu => ep::CPU::default().with_arena_allocator(true).build(),
        Provider::Cuda => ep::CUDA::default().build(),
        Provider::Tensorrt => {
            options.engine_cache.iter().try_for_each(create_dir_all)?;
            tensorrt(options, shapes).build()
        }
    };
    Ok(dispatch.error_on_failure())
}

fn tensorrt(options: &config::ClassifierConfig, shapes: &Shapes) -> ep::TensorRT {
    let profiles = profiles(&shapes.warm_up_shapes());
    let tensorrt = ep::TensorRT::default()
        .with_profile_min_shapes(&profiles)
        .with_profile_opt_shapes(&profiles)
        .with_profile_max_shapes(&profiles);
    match &options.engine_cache {
        None => tensorrt,
        Some(folder) => tensorrt
            .with_engine_cache(true)
            .with_engine_cache_path(folder.display())
            .with_timing_cache(true)
            .with_timing_cache_path(folder.display()),
    }
}

/// One optimisation profile for each shape, in the provider's format: each input is named once per profile, in the same order.
/// Without profiles the provider would build a new engine during a request whenever a shape is outside the range it has seen.
fn profiles(shapes: &[[usize; 2]]) -> String {
    let of = |input: &'static str| {
        shapes
            .iter()
            .map(move |[rows, tokens]| format!("{input}:{rows}x{tokens}"))
    };
    let all: Vec<String> = of("input_ids").chain(of("attention_mask")).collect();
    all.join(",")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_bucket_is_a_profile_of_both_inputs() {
        assert_eq!(
            profiles(&[[1, 64], [8, 256]]),
            "input_ids:1x64,input_ids:8x256,attention_mask:1x64,attention_mask:8x256"
        );
    }
}
