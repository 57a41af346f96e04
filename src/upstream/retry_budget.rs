//! Limits retries to a share of the requests, so that the gateway does not multiply the load on failing servers.

use std::{fmt, time::Duration};

use tower::retry::budget::{Budget as _, TpsBudget};

/// How long a request's share can be spent; unspent shares expire.
const WINDOW: Duration = Duration::from_secs(10);
/// Retries as a share of the requests ("Finagle", Twitter: RetryBudget's default).
const SHARE: f32 = 0.2;
/// Retries a second that are always allowed, for the first requests and for few requests.
const FREE_PER_SECOND: u32 = 10;

/// The retry budget of the gateway, shared by all its models.
pub struct RetryBudget(TpsBudget);

impl Default for RetryBudget {
    fn default() -> Self {
        Self(TpsBudget::new(WINDOW, FREE_PER_SECOND, SHARE))
    }
}

impl fmt::Debug for RetryBudget {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("RetryBudget")
    }
}

impl RetryBudget {
    /// Adds the share of one request.
    pub fn deposit(&self) {
        self.0.deposit();
    }

    /// Takes one retry. Returns false if none is left.
    pub fn withdraw(&self) -> bool {
        self.0.withdraw()
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use tokio::time::advance;

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_quiet_gateway_may_retry_ten_times_a_second() {
        let budget = RetryBudget::default();
        assert_eq!((0..1_000).filter(|_| budget.withdraw()).count(), 100);
        advance(WINDOW + Duration::from_secs(2)).await;
        assert_eq!((0..1_000).filter(|_| budget.withdraw()).count(), 100);
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(32))]
        #[test]
        fn when_everything_fails_a_fifth_of_the_requests_is_tried_again(seconds in prop::collection::vec(0..2_000_u32, 1..40)) {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build().unwrap();
            let (requests, spent) = runtime.block_on(async {
                let (budget, mut spent) = (RetryBudget::default(), 0_u32);
                for requests in &seconds {
                    for _ in 0..*requests {
                        budget.deposit();
                        spent += u32::from(budget.withdraw());
                    }
                    advance(Duration::from_secs(1)).await;
                }
                (seconds.iter().sum::<u32>(), spent)
            });
            // The free ones are granted for each window, and another window may just have begun.
            let free = FREE_PER_SECOND * (seconds.len() as u32 + 2 * WINDOW.as_secs() as u32);
            prop_assert!(spent <= requests / 5 + free, "{spent} of {requests}");
            prop_assert!(spent >= requests / 5, "{spent} of {requests}");
        }
    }
}
