//! The other APIs that clients speak: their requests become chats, and the answers to those become theirs again.
//!
//! Everything here is pure and total: no input panics, nothing reads a clock or draws a random number, and the work is in
//! proportion to the input. What depends on HTTP (statuses, headers, keys) belongs to the server.

mod chat;
pub mod messages;
mod node;
pub mod responses;

/// A request of another API as a chat.
#[derive(Clone, PartialEq, Eq)]
pub struct Chat<A> {
    /// The body of `POST /v1/chat/completions`, with the model as the client wrote it. A streamed one asks for usage.
    pub body: Vec<u8>,
    /// Fields and tools that were left out because no upstream has them, by the client's names.
    pub dropped: Vec<String>,
    /// What the answer has to know of the request.
    pub asked: A,
}

/// Leaves the prompt out.
impl<A> std::fmt::Debug for Chat<A> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Chat").field("body_bytes", &self.body.len()).finish_non_exhaustive()
    }
}
