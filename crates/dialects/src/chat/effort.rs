//! How much a model is to think, in the words that every upstream knows.

/// The effort of a chat for one of another API, as a JSON string; `None` if there is no such effort.
///
/// vLLM and Cerebras both know low, medium and high alone for every model: `none` and `minimal` are errors to gpt-oss, and
/// `xhigh` and `max` to Cerebras. So what is less becomes low, and what is more high.
/// Sources: <https://inference-docs.cerebras.ai/capabilities/reasoning>, and vLLM's `ChatCompletionRequest`.
pub(crate) fn effort(asked: &str) -> Option<&'static str> {
    match asked {
        "none" | "minimal" | "low" => Some("\"low\""),
        "medium" => Some("\"medium\""),
        "high" | "xhigh" | "max" => Some("\"high\""),
        _ => None,
    }
}

/// All that are known, for errors.
pub(crate) const EFFORTS: &str = "none, minimal, low, medium, high, xhigh or max";
