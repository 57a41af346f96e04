//! Whether a server is well, by what it answers when it is asked for nothing.
//!
//! Several results in a row turn the verdict, so that one lost packet does not ("N results flip", as in pingora's load balancer
//! and Kubernetes' probes). A server that was never asked is taken to be well.

use std::num::NonZeroU32;

use http::Method;
use parking_lot::Mutex;

use super::{Client, Server, client::innermost};

/// The verdict on one server.
#[derive(Debug)]
pub struct Health(Mutex<State>);

#[derive(Debug, Clone, Copy)]
struct State {
    is_well: bool,
    /// Results in a row that speak against the verdict.
    against: u32,
}

impl Default for Health {
    fn default() -> Self {
        Self(Mutex::new(State {
            is_well: true,
            against: 0,
        }))
    }
}

impl Health {
    /// The verdict.
    pub fn is_well(&self) -> bool {
        self.0.lock().is_well
    }

    /// Takes a result into account; the verdict when this one turned it. `results`: how many in a row it takes.
    pub fn heard(&self, is_well: bool, results: NonZeroU32) -> Option<bool> {
        let mut state = self.0.lock();
        if state.is_well == is_well {
            state.against = 0;
            return None;
        }
        state.against += 1;
        let turns = state.against >= results.get();
        if turns {
            *state = State {
                is_well,
                against: 0,
            };
        }
        turns.then_some(is_well)
    }
}

/// Asks a server how it is: vLLM's `/health` is 503 once its engine is dead. Whatever answers below 500 is well, also a server
/// without the route.
///
/// # Errors
/// What is wrong with it, in words for the log.
pub async fn check(client: &Client, server: &Server) -> Result<(), String> {
    let request = client.ask(Method::GET, server, "/health");
    match request.send().await {
        Ok(response) if response.status().is_server_error() => {
            Err(format!("answered {}", response.status()))
        }
        Ok(_) => Ok(()),
        Err(error) => Err(innermost(&error)),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn only_as_many_results_in_a_row_turn_the_verdict(results in prop::collection::vec(any::<bool>(), 0..60), needed in 1..5_u32) {
            let (health, needed) = (Health::default(), NonZeroU32::new(needed).unwrap());
            let mut verdict = true;
            for end in 1..=results.len() {
                let latest = results[end - 1];
                let turned = health.heard(latest, needed);
                let in_a_row = results[..end].iter().rev().take_while(|result| **result == latest).count();
                let turns = latest != verdict && in_a_row >= needed.get() as usize;
                prop_assert_eq!(turned, turns.then_some(latest));
                if turns {
                    verdict = latest;
                }
                prop_assert_eq!(health.is_well(), verdict);
            }
        }
    }
}
