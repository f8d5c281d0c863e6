//! The vocabulary that adapters and the router share: a [`Provider`] answers a [`Request`] with a [`Reply`] or an [`Error`].
//!
//! Nothing here performs I/O, knows HTTP or reads files, so that routing can be tested without any of them. A whole reply
//! is a stream of one [`Frame`]: one code path serves streamed and whole answers.

mod capacity;
mod completion;
mod error;
mod form;
mod gather;
mod head;
mod id;
mod json;
mod limit;
mod memory;
mod price;
mod reply;
mod request;
mod time;

use std::sync::Arc;

pub use capacity::{Capacity, Quota, Window};
pub use completion::{Choice, Completion};
pub use error::{Adjustment, Error, ErrorKind, Phase};
pub use gather::{GatherError, Gathered, gather};
pub use head::{Features, Head, InvalidRequest, Limits, MAX_FIELDS, RequestBody, utf8};
pub use id::{ModelId, RequestId, UpstreamId, UpstreamIds};
#[cfg(feature = "steps")]
pub use json::steps;
pub use json::{Malformed, Object, Reader, Rewrite, Text, Value, Why, each_whole, tree, tree_bytes, whole_characters};
pub use limit::limit_within;
pub use memory::{MemoryBudget, NoMemory, Reservation};
pub use price::{NanoUsd, ParsePriceError, PicoUsd, Price, Tariff};
pub use reply::{Frame, FrameKind, Frames, Reply, ReplyHead, Usage};
pub use request::{LONG_BODY, Operation, Request};
pub use time::Time;

/// What an adapter gets for one attempt besides the request itself.
#[derive(Debug, Clone)]
pub struct Call {
    /// The request's id, as sent to the client.
    pub request_id: RequestId,
    /// What to change because the same upstream has refused the request as it was: [`Error::again`] of an earlier attempt.
    pub adjustment: Option<Adjustment>,
    /// Which members of the answer carry its reasoning.
    pub reasoning: ReasoningField,
    /// The memory budget of bodies and answers.
    pub memory: MemoryBudget,
}

/// Which members of a chat's messages carry reasoning, in streams and whole answers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum ReasoningField {
    /// That of the upstream: what it says is relayed as it is.
    #[default]
    Upstream,
    /// `reasoning` and `reasoning_content`: newer servers have the first, and some clients read only the second.
    Both,
}

impl ReasoningField {
    /// All of them.
    pub const ALL: [Self; 2] = [Self::Upstream, Self::Both];

    /// Its name in the configuration.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Upstream => "upstream",
            Self::Both => "both",
        }
    }
}

/// One configured upstream, whatever the API of its provider.
#[async_trait::async_trait]
pub trait Provider: Send + Sync {
    /// Sends `request` once. Returns when the head of the reply is known; the frames follow as a stream.
    ///
    /// Dropping the future or the frames cancels the call upstream.
    async fn call(&self, request: &Request, call: &Call) -> Result<Reply, Error>;

    /// What the upstream says of its workers and queue. Unknown fields stay `None`; an upstream that cannot be asked
    /// answers [`Capacity::default`].
    async fn capacity(&self) -> Result<Capacity, Error>;
}

/// Compile-time check that the trait stays object-safe.
const _: Option<Arc<dyn Provider>> = None;

#[cfg(test)]
#[path = "../tests/support/growth.rs"]
mod growth;
