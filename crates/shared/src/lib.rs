//! What several replicas of the router share, through Redis or Valkey: the limits of keys, teams and models, how much of a budget
//! each of them may spend, which one leads, and what each knows of its upstreams.
//!
//! Redis is a cache here: nothing in it is the only copy. An epoch, which is gone with the data, shows that they were lost; what
//! was spent is then asked of the ledger again. Every change is one script on the server, by the server's clock, so that replicas
//! need no common time. A script that may have been done is never sent a second time, unless it is one that says a total or carries a
//! number which the server knows: so a late one counts nothing twice.
//!
//! One thread talks to the server, and sends what has come meanwhile at once. A request waits 50 ms at most to be counted, and half a
//! second for more of a budget: while the server is away or slow, each replica decides by itself.

mod budgets;
mod client;
mod connection;
mod limits;
mod pipeline;
mod settlement;
mod worker;

pub use budgets::{Held, Hold};
pub use client::{Node, Peer, Settings, Shared, StartError, Turn, View};
pub use limits::{Demand, Limits, Rate, Reached, State, Verdict};
pub use pipeline::LEASE;
