//! Which fields Cerebras takes, as its own SDK types them (1.91.0). A field that is in no list is dropped and named in a header.

use provider::Operation;

/// Fields of a chat that are forwarded as they came.
const CHAT: &[&str] = &[
    "clear_thinking",
    "disable_reasoning",
    "frequency_penalty",
    "logit_bias",
    "logprobs",
    "messages",
    "min_completion_tokens",
    "min_tokens",
    "model_parameters",
    "n",
    "parallel_tool_calls",
    "prediction",
    "presence_penalty",
    "reasoning_format",
    "response_format",
    "seed",
    "stop",
    "stream",
    "temperature",
    "tool_choice",
    "tools",
    "top_logprobs",
    "top_p",
    "user",
];

/// Fields of a completion that are forwarded as they came.
const COMPLETIONS: &[&str] = &[
    "best_of",
    "echo",
    "frequency_penalty",
    "grammar_root",
    "logit_bias",
    "logprobs",
    "min_tokens",
    "n",
    "presence_penalty",
    "prompt",
    "reasoning_format",
    "return_raw_tokens",
    "seed",
    "stop",
    "stream",
    "suffix",
    "temperature",
    "top_p",
    "user",
];

/// Fields of both that change nothing in an answer: left out without a header that says so.
const WITHOUT_EFFECT: &[&str] =
    &["metadata", "prompt_cache_key", "safety_identifier", "service_tier", "store", "verbosity"];

/// Fields without which the answer would be another one: where Cerebras refuses them, another upstream is asked.
const INDISPENSABLE: &[&str] = &[
    "max_completion_tokens",
    "max_tokens",
    "messages",
    "model",
    "n",
    "prompt",
    "response_format",
    "stop",
    "stream",
    "suffix",
    "tool_choice",
    "tools",
];

/// Whether an answer without the field `name` is still what was asked for.
pub(crate) fn is_dispensable(name: &str) -> bool {
    !INDISPENSABLE.contains(&name)
}

/// What to do with a field.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Rule {
    /// Forward it.
    Pass,
    /// It is written anew elsewhere.
    Rewritten,
    /// Leave it out, which changes nothing.
    Omit,
    /// Leave it out and say so.
    Drop,
}

/// What to do with the field `name`.
pub(crate) fn rule(operation: Operation, name: &str) -> Rule {
    let taken = match operation {
        Operation::Chat => CHAT,
        Operation::Completions => COMPLETIONS,
        Operation::Embeddings
        | Operation::Rerank
        | Operation::Score
        | Operation::Transcriptions
        | Operation::Tokenize
        | Operation::Detokenize => &[],
    };
    match name {
        "model" | "stream_options" | "max_tokens" | "max_completion_tokens" => Rule::Rewritten,
        "reasoning_effort" | "guided_json" | "structured_outputs" if operation == Operation::Chat => Rule::Rewritten,
        _ if taken.contains(&name) => Rule::Pass,
        _ if WITHOUT_EFFECT.contains(&name) => Rule::Omit,
        _ => Rule::Drop,
    }
}
