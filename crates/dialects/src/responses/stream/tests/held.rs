//! What a stream holds of its answer, and says of it before its end.

use super::*;

#[test]
fn a_silent_stream_says_what_there_is_so_far() {
    let mut stream = Stream::new(plain(), ID, 1);
    let mut out = written(|out| stream.keep_alive(out));
    assert_eq!(types(&out), ["created", "in_progress"], "it may be silent before it has begun");
    let call = json!({"tool_calls": [{"index": 0, "id": "c", "function": {"name": "f", "arguments": "{\"a"}}]});
    for delta in [json!({"reasoning": "hm"}), json!({"content": "Half"}), call] {
        out += &shown(&mut stream, &format!("data: {}\n\n", chunk(delta)));
        let keep_alive = written(|out| stream.keep_alive(out));
        assert_eq!(types(&keep_alive), ["in_progress"]);
        out += &keep_alive;
    }
    out += &shown(&mut stream, "data: [DONE]\n\n");
    assert_eq!(order::check(&out)["output"][1]["content"][0]["text"], "Half");
}

#[test]
fn a_long_answer_is_held_once_and_counted() {
    let piece = "word ".repeat(2_000);
    let event = format!("data: {}\n\n", chunk(json!({"content": piece})));
    let mut stream = Stream::new(plain(), ID, 1);
    let before = stream.held_bytes();
    let said = 100 * piece.len();
    for _ in 0..100 {
        shown(&mut stream, &event);
        assert!(stream.held_bytes() < 2 * said);
    }
    assert!(stream.held_bytes() - before >= said, "all of the text is counted");
    let mut out = Blocks::default();
    stream.frame(b"data: [DONE]\n\n", &mut out).expect("the end");
    assert!(out.len() > 4 * said, "the end says the text four times");
    assert!(out.held_bytes() < 64 << 10, "and takes {} bytes for that", out.held_bytes());
    let mut longest = 0;
    while !out.is_empty() {
        longest = longest.max(out.take(usize::MAX).len());
    }
    assert!(longest < 128 << 10, "{longest} bytes in one piece");
}
