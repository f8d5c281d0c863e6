//! A whole chat completion as a response.

use provider::Malformed;

use super::{asked::Asked, stream::Stream};
use crate::chat::Answer;

/// Makes the whole answer `completion` to the request that `asked` comes from a response: the one with which [`Stream`]
/// would end. Its id is `id` behind OpenAI's `resp_`; `created_s` is the time in seconds since 1970.
///
/// # Errors
/// If `completion` is not JSON.
pub fn whole(asked: &Asked, id: &str, created_s: u64, completion: &str) -> Result<Vec<u8>, Malformed> {
    let answer = Answer::read(completion)?;
    Ok(Stream::new(asked.clone(), id, created_s).response_to(&answer))
}
