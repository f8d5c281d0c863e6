//! OpenAI's Responses API: `POST /v1/responses` as a chat, and a chat's answer as a response.
//!
//! Nothing is stored: every request brings its whole conversation, and every response says `"store":false`. What is
//! decided here, and why, is in docs/decisions/0025.

mod asked;
mod item;
mod logprobs;
mod request;
mod stream;
mod whole;

pub use asked::Asked;
pub use request::to_chat;
pub use stream::{Problem, Stream};
pub use whole::whole;
