//! Replays a trace through a routing policy against models of the providers: discrete events in virtual time.
//!
//! A [`Trace`] has the requests and their times, a [`Scenario`] the events meanwhile; applied to a trace and to the
//! [`Providers`] it gives a [`Case`]. A [`Policy`] decides: a baseline, or the driver of a routing engine.
//! [`Experiment`] runs every policy in every scenario with several seeds, on all cores, and adds the limit that no
//! router can pass ([`bound()`]). Its [`Results`] become a [`table`], JSON, a [`page`], or a verdict for a team's own
//! checks ([`Gates`]).
//!
//! Nothing here waits, reads a clock, or uses the network: the same seed gives the same result.

mod baselines;
mod bound;
mod calibrate;
mod chance;
mod decisions;
pub mod engine;
mod experiment;
mod gates;
mod metrics;
mod mistakes;
mod policy;
mod providers;
mod report;
mod scenario;
mod statistics;
mod time;
mod timeline;
mod trace;
mod upstream;
mod wake;
mod world;

pub use baselines::{PEAK_EWMA, PolicyFactory, STATIC_SHARES, baselines};
pub use bound::{Bound, BoundError, Cheapest, bound};
pub use calibrate::{Calibration, Fitted, Goodness, Parameter, calibrate};
pub use decisions::{DecisionLog, DecisionLogError};
pub use experiment::{Experiment, PolicyResult, Results, ScenarioResult, run};
pub use gates::{Broken, Gates, ShareGate};
pub use metrics::{Metrics, Shape};
pub use mistakes::{Mistake, SettingsError};
pub use policy::{Actions, AttemptId, Capacity, Event, Failure, Policy, Quota, RequestId, Setup, UpstreamFacts};
pub use providers::{CerebrasSettings, Limit, Lognormal, Model, Providers, RunPodSettings, Scaler, UpstreamSettings};
pub use report::{change_in_a_sentence, page, table};
pub use scenario::{Case, Scenario, ScenarioError};
pub use statistics::{Estimate, Summary};
pub use time::{MILLISECOND, NEVER, Nanos, SECOND, from_seconds, seconds};
pub use trace::{Arrival, BadLine, Trace, TraceError, read_text};
pub use world::Rules;
