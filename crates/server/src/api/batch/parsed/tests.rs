use provider::{Limits, steps};
use serde_json::json;

use super::*;
use crate::growth;

fn parse(body: &str, most: usize) -> Result<ParsedBatch, InvalidRequest> {
    ParsedBatch::parse(&Bytes::copy_from_slice(body.as_bytes()), most)
}

/// What the entries become.
fn chats(body: &str) -> Vec<Result<serde_json::Value, InvalidRequest>> {
    let batch = parse(body, 9).expect(body);
    let chat = |entry: &Entry| {
        let mut prompt = batch.defaults.complete(entry)?;
        let named = (prompt.take_text("model")?, prompt.take_text("task")?);
        let request = prompt.into_chat("m", false, Limits { max_messages: 9 })?;
        let body: serde_json::Value = serde_json::from_slice(&request.rewrite().finish()).expect("JSON");
        Ok(json!([named.0, named.1, body["messages"][0]["content"], body["seed"]]))
    };
    batch.entries.iter().map(chat).collect()
}

#[test]
fn entries_are_completed_by_the_defaults() {
    let body = r#"{"model":"a","seed":1,"x":null,"prompts":["one","\u0074wo",null,7,"\ud83d"]}"#;
    let [one, two, null, number, half] = chats(body).try_into().expect("five");
    assert_eq!(one.expect("valid"), json!(["a", null, "one", 1]));
    assert_eq!(two.expect("valid"), json!(["a", null, "two", 1]));
    assert!(null.expect_err("nothing").message.contains("'prompt' is required"));
    assert!(number.expect_err("no text").message.contains("'prompt' must be a string"));
    assert_eq!(half.expect("valid"), json!(["a", null, "\u{fffd}", 1]));

    let body = r#"{"requests":[{"prompt":"x"},{"prompt":"y","model":"b","seed":null},{"prompt":"z","t\u0061sk":"u","seed":2}],"seed":1,"task":"t"}"#;
    let all: Vec<_> = chats(body).into_iter().map(|chat| chat.expect("valid")).collect();
    assert_eq!(all, [json!([null, "t", "x", 1]), json!(["b", null, "y", 1]), json!([null, "u", "z", 2])]);
}

#[test]
fn a_batch_that_is_wrong_is_refused_by_name() {
    for (body, param, says) in [
        (r#"{"prompts":["a"],"prompts":["a"]}"#, "prompts", "appears twice: send it once"),
        (r#"{"requests":[{"prompt":"a","x":{"y":1,"y":1}}]}"#, "requests", "'y' within 'requests' appears twice"),
        (r#"{"prompts":["a"],"concurrency":2.0}"#, "concurrency", "a whole number from 1 to 256"),
        (r#"{"requests":[{},7]}"#, "requests", "must hold objects"),
        (r#"{"prompts":[1,1,1,1,1"#, "prompts", "more than 4 entries: split it"),
        (r#"{"requests":[{},{},{},{},{}"#, "requests", "more than 4 entries: split it"),
    ] {
        let error = parse(body, 4).err().expect(body);
        assert_eq!((error.param.as_deref(), error.message.contains(says)), (Some(param), true), "{body}: {error}");
    }
    let batch = parse(r#"{"prompts":null,"requests":[{}],"concurrency":null}"#, 4).expect("null is as if left out");
    assert_eq!((batch.entries.len(), batch.concurrency), (1, 16));
}

/// Nothing is kept of what is beyond the bound: an ordinary tree of these takes more than a hundred times the body.
#[test]
fn entries_beyond_the_bound_cost_nothing() {
    for (field, entry) in [("prompts", "1,"), ("requests", "{},"), ("prompts", "[[]],")] {
        let body = Bytes::from(format!("{{\"{field}\":[{}", entry.repeat(1 << 20)));
        let taken = allocation_counter::measure(|| assert!(ParsedBatch::parse(&body, 2_048).is_err()));
        assert!(taken.bytes_max < 256 << 10, "{field}: {taken:?}");
    }
}

#[test]
fn reading_a_batch_is_linear_in_the_body() {
    let cases: [growth::Case; 4] = [
        ("prompts", |n| format!("{{\"prompts\":[{}\"x\"]}}", "\"x\",".repeat(n))),
        ("requests", |n| format!("{{\"requests\":[{}{{}}]}}", "{\"prompt\":\"x\"},".repeat(n))),
        ("defaults", |n| {
            format!("{{\"prompts\":[\"x\"]{}}}", (0..n).map(|at| format!(",\"x{at}\":0")).collect::<Vec<_>>().concat())
        }),
        ("small arrays", |n| format!("{{\"x\":[{}[]],\"prompts\":[\"x\"]}}", "[[]],".repeat(n))),
    ];
    growth::are_linear(&cases, steps::taken, |text| {
        let Ok(batch) = parse(text, usize::MAX) else { return };
        for entry in &batch.entries {
            drop(batch.defaults.complete(entry));
        }
    });
}
