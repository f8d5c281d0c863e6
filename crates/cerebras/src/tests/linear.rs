//! The work for a request grows at most in proportion to its body, whatever is repeated in it.

use bytes::Bytes;
use provider::{Limits, Operation, Request, steps};

use super::sent;

#[path = "../../../provider/tests/support/chats.rs"]
mod chats;
#[path = "../../../provider/tests/support/growth.rs"]
mod growth;

#[test]
fn a_rewrite_is_linear_in_the_body() {
    growth::are_linear(chats::CHATS, steps::taken, |text| {
        let body = Bytes::copy_from_slice(text.as_bytes());
        let Ok(request) = Request::parse(Operation::Chat, body, Limits { max_messages: usize::MAX }) else { return };
        drop(sent(&request, "gpt-oss-120b", None));
    });
}
