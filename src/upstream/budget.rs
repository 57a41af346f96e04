//! How much moving on there may be: a share of the requests, so that a fault of the servers is not multiplied by us.

use std::{fmt, time::Duration};

use tower::retry::budget::{Budget as _, TpsBudget};

/// Over how long requests earn their share; what was not used by then is lost.
const WINDOW: Duration = Duration::from_secs(10);
/// Attempts after the first, as a share of the requests ("Finagle", Twitter: RetryBudget's default).
const SHARE: f32 = 0.2;
/// And as many a second that few requests, or the first ones, need not earn.
const FREE_PER_SECOND: u32 = 10;

/// The budget of one gateway for attempts after the first.
pub struct Budget(TpsBudget);

impl Default for Budget {
    fn default() -> Self {
        Self(TpsBudget::new(WINDOW, FREE_PER_SECOND, SHARE))
    }
}

impl fmt::Debug for Budget {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Budget")
    }
}

impl Budget {
    /// A request came; it earns its share.
    pub fn earn(&self) {
        self.0.deposit();
    }

    /// True when another attempt may be made, which is then spent.
    pub fn spend(&self) -> bool {
        self.0.withdraw()
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use tokio::time::advance;

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_quiet_gateway_may_move_on_ten_times_a_second() {
        let budget = Budget::default();
        assert_eq!((0..1_000).filter(|_| budget.spend()).count(), 100);
        advance(WINDOW + Duration::from_secs(2)).await;
        assert_eq!((0..1_000).filter(|_| budget.spend()).count(), 100);
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(32))]
        #[test]
        fn when_everything_fails_a_fifth_of_the_requests_is_tried_again(seconds in prop::collection::vec(0..2_000_u32, 1..40)) {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build().unwrap();
            let (requests, spent) = runtime.block_on(async {
                let (budget, mut spent) = (Budget::default(), 0_u32);
                for requests in &seconds {
                    for _ in 0..*requests {
                        budget.earn();
                        spent += u32::from(budget.spend());
                    }
                    advance(Duration::from_secs(1)).await;
                }
                (seconds.iter().sum::<u32>(), spent)
            });
            // The free ones come by the window, and one more may just have begun.
            let free = FREE_PER_SECOND * (seconds.len() as u32 + 2 * WINDOW.as_secs() as u32);
            prop_assert!(spent <= requests / 5 + free, "{spent} of {requests}");
            prop_assert!(spent >= requests / 5, "{spent} of {requests}");
        }
    }
}
