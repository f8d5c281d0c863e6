use serde_json::json;

use super::*;

fn first(json: &str) -> (String, Option<String>) {
    let completion = Completion::read(json).expect("JSON");
    let Some(choice) = completion.choices().next() else { return (String::new(), None) };
    (choice.text().into_owned(), choice.finish_reason().map(str::to_owned))
}

fn said(content: &str) -> String {
    let whole = first(&format!(r#"{{"choices":[{{"message":{{"role":"assistant","content":{content}}}}}]}}"#)).0;
    let piece = first(&format!(r#"{{"choices":[{{"delta":{{"content":{content}}}}}]}}"#)).0;
    assert_eq!(whole, piece, "{content}");
    whole
}

#[test]
fn a_content_may_have_parts() {
    let parts = r#"[{"type":"thinking","thinking":[{"type":"text","text":"hm"}]},{"type":"text","text":"hello"}]"#;
    assert_eq!(said(parts), "hello");
    assert_eq!(said(r#""half \ud83d of a pair, a whole \ud83d\ude00""#), "half \u{fffd} of a pair, a whole \u{1f600}");
    for nothing in ["null", "7", "true", "{}", "[]", r#""""#, r#"[{"type":"text","text":null}]"#] {
        assert_eq!(said(nothing), "", "{nothing}");
    }
}

#[test]
fn the_last_of_two_members_counts_however_they_are_written() {
    assert_eq!(said(r#""a","content":"b","c\u006fntent":"c""#), "c");
    let twice = r#"{"choices":7,"choices":[{"message":[],"message":{"content":"a"},"finish_reason":"x","finish_reason":"stop"}]}"#;
    assert_eq!(first(twice), ("a".to_owned(), Some("stop".to_owned())));
}

#[test]
fn what_is_of_another_type_is_left_out() {
    let odd = r#"{"choices":[null,7,[{}],{"index":"0","delta":[],"text":" plain","finish_reason":""}]}"#;
    assert_eq!(first(odd), (" plain".to_owned(), None));
    for nothing in ["[]", "7", "{}", r#"{"choices":{}}"#, r#"{"choices":[{"delta":"x","finish_reason":{}}]}"#] {
        assert_eq!(first(nothing), (String::new(), None), "{nothing}");
    }
    assert!(
        Completion::read("{").is_err() && Completion::read("nonsense").is_err() && Completion::read("{} {}").is_err()
    );
}

#[test]
fn counts_are_passed_on_as_they_are() {
    let usage = |raw: &str| Completion::read(&format!(r#"{{"usage":{raw}}}"#)).expect("JSON").object("usage").cloned();
    let odd = r#"{"prompt_tokens":null,"completion_tokens":7.0,"total_tokens":"\ud83d","a":-1,"a":[{"b":1e999}]}"#;
    let expected =
        json!({"prompt_tokens": null, "completion_tokens": 7.0, "total_tokens": "\u{fffd}", "a": [{"b": "1e999"}]});
    assert_eq!(usage(odd), Some(expected));
    assert_eq!((usage("null"), usage("[]"), usage("7")), (None, None, None));
}

#[test]
fn a_content_may_have_any_shape() {
    let thinking = json!({"type": "thinking", "thinking": [{"type": "text", "text": "hm"}]});
    for (content, said) in [
        (json!("plain"), Some("plain")),
        (json!([thinking, {"type": "text", "text": "hello"}]), Some("hello")),
        (json!([{"text": "a"}, {"type": "output_text", "text": "b"}, "c", {"text": 7}, null, [1]]), Some("abc")),
        (json!([{"type": "refusal", "text": "no"}, {"type": "image_url", "image_url": {"url": "u"}}]), Some("")),
        (json!({"type": "text", "text": "one part"}), Some("one part")),
        (json!([]), Some("")),
        (json!(null), None),
        (json!(7), None),
        (json!({}), None),
    ] {
        assert_eq!(content_text(&content).as_deref(), said, "{content}");
    }
}
