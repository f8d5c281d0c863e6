//! The limit on an answer that the router sends where the client names none. Routing prices a call by it and adapters send it.

/// Tokens of the context that an estimate of the prompt may be wrong by, and the fewest that are left to an answer.
const MARGIN: u64 = 256;

/// `limit`, in tokens, or what `context_tokens` leave beside a prompt of about `prompt_tokens` if that is less. `None` is a context of
/// unknown length.
pub fn limit_within(limit: u64, context_tokens: Option<u64>, prompt_tokens: u64) -> u64 {
    let rest = context_tokens.map_or(limit, |context| context.saturating_sub(prompt_tokens.saturating_add(MARGIN)));
    // An estimate that leaves nothing is wrong, or the prompt is too long anyway.
    if rest >= MARGIN { limit.min(rest) } else { limit }
}
