//! Where the model runs: ONNX Runtime's execution providers, and the settings each of them gets.

use std::{fs::create_dir_all, io};

use ort::ep::{self, ExecutionProviderDispatch};

use super::super::{Options, Provider, shapes::Shapes};

/// What the runtime is asked for; one that does not load is an error, not a silent fall to the next. The arena of the
/// processor's keeps the memory of inferences, which the system's allocator would map anew for each.
///
/// # Errors
/// The directory for engines cannot be made.
pub fn dispatch(
    provider: Provider,
    options: &Options,
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

fn tensorrt(options: &Options, shapes: &Shapes) -> ep::TensorRT {
    let profiles = profiles(&shapes.to_warm_up());
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

/// One optimisation profile for each shape, as the provider reads them: an input is named once for each, in the same order.
/// Without profiles the provider builds another engine whenever a shape leaves the range it has seen, in the middle of a request.
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
