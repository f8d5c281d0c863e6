//! Decides which upstream serves a request, and what to do when it does not.
//!
//! A driver passes the events of a request to an [`Engine`], and carries out the [`Action`] that it returns. Nothing
//! here waits, reads a clock, draws a number by itself, or sees a body: time and chance are arguments, and requests are
//! [`Facts`]. What is configured is a [`Table`], replaced as a whole; what is known is the engine's.

mod budget;
mod candidate;
mod decision;
mod engine;
mod ensemble;
mod error;
mod facts;
mod hedge;
mod history;
mod key;
mod knowledge;
mod peers;
mod policy;
mod request;
mod share;
mod strategy;
mod table;
mod unattributed;
mod upstream;
mod workers;

pub use budget::SpareRepeats;
pub use candidate::{Candidate, Excluded, Unfit};
pub use decision::{Decision, Reason, Role};
pub use engine::{Engine, WarmUp, Weight};
pub use ensemble::{Ensemble, Extract, Judge, Pick};
pub use error::RouterError;
pub use facts::{Facts, Named, Wishes};
pub use hedge::Hedge;
pub use knowledge::quota::Limits;
pub use peers::{Learned, PeerBreaker, PeerCapacity, PeerLoad, PeerModel, PeerState, PeerUpstream, Peers, Totals};
pub use policy::Policy;
pub use request::{Action, Attempt, RequestState, Start};
pub use strategy::{Scale, Strategy, StrategyName};
pub use table::{Choice, Model, ModelSpec, Table, TableError};
pub use upstream::{Blocked, BreakerState, Snapshot, Status, Timeouts, Upstream, UpstreamSpec};
pub use workers::{Polls, WorkerTime};
