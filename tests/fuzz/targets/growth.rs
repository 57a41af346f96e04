//! Whether the time of a reader grows with the size of what it reads, and no faster.

use std::time::{Duration, Instant};

/// Two sizes in bytes, and how much longer the larger one may take over the smaller: eight times what is linear, because times of
/// microseconds are noisy. What grows with the square takes as much longer again, and fails.
const SMALL: usize = 8 << 10;
const LARGE: usize = 512 << 10;
const ALLOWED: u32 = 8 * (LARGE / SMALL) as u32;
/// A pause of the machine.
const NOISE: Duration = Duration::from_millis(3);

/// Of so many inputs one is measured, chosen by its bytes, so that it is the same one when it is run again. To measure an input takes
/// as long as to read some thousand of them.
const ONE_OF: usize = 64;

/// Fails when reading `input` again and again, behind `start`, takes a time that grows faster than the size. Measures one input of
/// [`ONE_OF`].
pub fn assert_linear(start: &[u8], input: &[u8], read: impl Fn(&[u8])) {
    let sum = input.iter().fold(0_usize, |sum, byte| {
        sum.wrapping_mul(31).wrapping_add(usize::from(*byte))
    });
    if input.is_empty() || !sum.is_multiple_of(ONE_OF) {
        return;
    }
    let repeated = |size: usize| {
        let mut body = start.to_vec();
        while body.len() < size {
            body.extend_from_slice(input);
        }
        body
    };
    let (small, large) = (repeated(SMALL), repeated(LARGE));
    let allowed = best_time(&small, 5, &read) * ALLOWED + NOISE;
    if best_time(&large, 1, &read) <= allowed {
        return;
    }
    let took = best_time(&large, 5, &read); // again, for the case that the machine was busy
    assert!(
        took <= allowed,
        "{} bytes take {took:?}, and by the time for {} bytes it should be {allowed:?} at most",
        large.len(),
        small.len()
    );
}

fn best_time(body: &[u8], times: usize, read: impl Fn(&[u8])) -> Duration {
    let one = |_| {
        let began = Instant::now();
        read(body);
        began.elapsed()
    };
    (0..times).map(one).min().unwrap_or_default()
}
