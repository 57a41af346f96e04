//! Chooses an endpoint: by load and weight, without those that keep failing.

mod breaker;
mod endpoint;
mod health;
mod pick;

pub use self::{
    breaker::BreakerConfig,
    endpoint::{Endpoint, EndpointSpec, InFlight},
    health::Health,
    pick::Candidates,
};

#[cfg(test)]
pub use self::endpoint::tests::trip;
