//! Token counts that are no counts, as the `usage` of an answer.

use serde_json::{Value, json};

pub(super) fn nulls() -> Value {
    counts(&Value::Null, &Value::Null, &Value::Null)
}

pub(super) fn floats() -> Value {
    counts(&json!(11.0), &json!(7.0), &json!(18.0))
}

pub(super) fn texts() -> Value {
    counts(&json!("11"), &json!("7"), &json!("18"))
}

pub(super) fn negatives() -> Value {
    counts(&json!(-1), &json!(-1), &json!(-2))
}

fn counts(prompt: &Value, completion: &Value, total: &Value) -> Value {
    json!({"prompt_tokens": prompt, "completion_tokens": completion, "total_tokens": total})
}
