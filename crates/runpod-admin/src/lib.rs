//! Setting endpoints up: RunPod's management API (v2), apart from the endpoints' own.
//!
//! [`Spec`] says what one endpoint should be. [`plan`] compares it with what exists, without asking anyone; [`apply`] does
//! what is left to do through [`Api`]. Both are idempotent: what is as it should be is not touched, and a difference
//! changes that field only. [`cost`] is what it will cost, at prices from the API's own catalogue where it has them.

mod api;
mod apply;
mod cost;
mod error;
#[cfg(test)]
mod fixture;
mod plan;
mod problem;
mod spec;
mod warm_up;

pub use api::{Api, BASE_URL, Existing, Found, PoolPrice};
pub use apply::apply;
pub use cost::{Cost, HOURS_A_MONTH, STORAGE_PRICES_AS_OF, cost};
pub use error::Error;
pub use plan::{Action, Change, Target, is_secret, plan};
pub use spec::{EndpointKind, FlashBoot, Scaling, Spec, Volume, VolumeTier, Workers};
pub use warm_up::warm_up;
